#!/usr/bin/env bash
# Guess: @effect/cli takes "--name=a" wherever it takes "--name a".
# Seen:  An option made with Options.repeated does not take the form with "=": "--name=a" becomes an argument.
#        "--once=" becomes an argument, too, for a plain option.
# With:  @effect/cli 0.77.2, effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> --name a --name b: names a b, files
#> --name=a --name=b: names, files --name=a --name=b
#> --once=a: once a, files
#> --once=: once none, files --once=
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
  names: Options.repeated(Options.text("name")),
  once: Options.text("once").pipe(Options.withDefault("none")),
  files: Args.repeated(Args.text({ name: "file" }))
}
for (const args of [["--name", "a", "--name", "b"], ["--name=a", "--name=b"], ["--once=a"], ["--once="]]) {
  const command = Command.make("find", config, ({ files, names, once }) => {
    const value = args[0].startsWith("--once") ? ["once", once] : ["names", ...names]
    return Effect.sync(() => console.log(`${args.join(" ")}: ${value.join(" ")}, ${["files", ...files].join(" ")}`))
  })
  const run = Command.run(command, { name: "find", version: "1.0.0" })
  await Effect.runPromise(Effect.provide(run(["node", "find", ...args]), platform))
}
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
