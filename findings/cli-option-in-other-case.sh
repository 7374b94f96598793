#!/usr/bin/env bash
# Guess: @effect/cli takes "--NAME x" for "--name x", or refuses it as an unknown option.
# Seen:  The option and its value vanish without a word, and the command runs with the default.
# With:  @effect/cli 0.77.2, effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> --name x: name x, files
#> --NAME x: name default, files
#> --NAME=x: name default, files
#> --Name x file: name default, files file
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/cli@0.77.2 \
  @effect/printer@0.51.0 @effect/printer-ansi@0.51.0 @effect/typeclass@0.41.0
cat >find.mjs <<'EOF'
import { Args, Command, Options } from "@effect/cli"
import { FileSystem, Path, Terminal } from "@effect/platform"
import { Effect, Layer } from "effect"

const platform = Layer.mergeAll(FileSystem.layerNoop({}), Path.layer, Layer.succeed(Terminal.Terminal, {}))
const config = {
  name: Options.text("name").pipe(Options.withDefault("default")),
  files: Args.repeated(Args.text({ name: "file" }))
}
for (const args of [["--name", "x"], ["--NAME", "x"], ["--NAME=x"], ["--Name", "x", "file"]]) {
  const command = Command.make("find", config, ({ files, name }) =>
    Effect.sync(() => console.log(`${args.join(" ")}: ${["name", name + ",", "files", ...files].join(" ")}`)))
  const run = Command.run(command, { name: "find", version: "1.0.0" })
  await Effect.runPromise(Effect.provide(run(["node", "find", ...args]), platform))
}
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
