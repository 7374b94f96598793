#!/usr/bin/env bash
# Guess: @effect/cli refuses an option that it does not know; only "--" lets an argument begin with dashes.
# Seen:  A command that has arguments takes a misspelt option and its value for arguments, without a word.
# With:  @effect/cli 0.77.2, effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> --port 80 file: port 80, files file
#> --prot 80 file: port 1, files --prot 80 file
#> --prot=80 file: port 1, files --prot=80 file
#> -p file: port 1, files -p file
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
  port: Options.integer("port").pipe(Options.withDefault(1)),
  files: Args.repeated(Args.text({ name: "file" }))
}
for (const options of [["--port", "80"], ["--prot", "80"], ["--prot=80"], ["-p"]]) {
  const args = [...options, "file"]
  const command = Command.make("find", config, ({ files, port }) =>
    Effect.sync(() => console.log(`${args.join(" ")}: port ${port}, files ${files.join(" ")}`)))
  const run = Command.run(command, { name: "find", version: "1.0.0" })
  await Effect.runPromise(Effect.provide(run(["node", "find", ...args]), platform))
}
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
