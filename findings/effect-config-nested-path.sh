#!/usr/bin/env bash
# Guess: Under ConfigProvider.nested and constantCase every error of a Config names the variable that was read.
# Seen:  Config.integer names WSMUX.SIZE's variable path ["APP","PORT_NUMBER"]. A validation that fails in
#        Config.mapOrFail names the key as written in the program, without prefix and in the wrong case.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> to be filled
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Config, ConfigError, ConfigProvider, Effect, Either } from "effect"

const provider = ConfigProvider.fromMap(new Map([["APP_PORT_NUMBER", "ten"]])).pipe(
  ConfigProvider.nested("APP"),
  ConfigProvider.constantCase
)
const even = Config.string("portNumber").pipe(
  Config.mapOrFail((text) => Either.left(ConfigError.InvalidData([], `${text} is not even`)))
)
const pathOf = (config) =>
  Effect.runSync(Effect.flip(Effect.withConfigProvider(config, provider))).path.join(".")

console.log(`Config.integer: ${pathOf(Config.integer("portNumber"))}`)
console.log(`Config.mapOrFail: ${pathOf(even)}`)
console.log(`Config.validate: ${pathOf(Config.string("portNumber").pipe(Config.validate({ message: "odd", validation: () => false })))}`)
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
