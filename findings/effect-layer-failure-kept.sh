#!/usr/bin/env bash
# Guess: A layer that failed to build is built again by the next run of its ManagedRuntime. Layer.orElse builds it
#        again when the alternative is the same layer.
# Seen:  Both give the first failure again and build nothing. A ManagedRuntime whose first run meets a database that
#        is down fails its later runs, too. Layer.retry builds again.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output (the layer fails when it is built for the first time):
#> ManagedRuntime, two runs: failure, failure (built 1 times)
#> Layer.orElse: failure (built 1 times)
#> Layer.retry: success (built 2 times)
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4
cat >find.mjs <<'EOF'
import { Context, Effect, Layer, ManagedRuntime, Schedule } from "effect"

const Database = Context.GenericTag("Database")
const failsOnce = () => {
  const counter = { built: 0 }
  const connect = Effect.suspend(() => ++counter.built === 1 ? Effect.fail("down") : Effect.succeed("connected"))
  return { counter, layer: Layer.effect(Database, connect) }
}
const report = (name, exits, { built }) =>
  console.log(`${name}: ${exits.map(({ _tag }) => _tag.toLowerCase()).join(", ")} (built ${built} times)`)

const first = failsOnce()
const runtime = ManagedRuntime.make(first.layer)
const exits = [await runtime.runPromiseExit(Database), await runtime.runPromiseExit(Database)]
report("ManagedRuntime, two runs", exits, first.counter)

const build = (layer) => Effect.runPromiseExit(Effect.provide(Database, layer))
const second = failsOnce()
report("Layer.orElse", [await build(Layer.orElse(second.layer, () => second.layer))], second.counter)
const third = failsOnce()
report("Layer.retry", [await build(Layer.retry(third.layer, Schedule.recurs(3)))], third.counter)
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
