#!/usr/bin/env bash
# Guess: RcMap shares acquired resources. A failed lookup holds nothing, so the next RcMap.get looks up again.
# Seen:  The failure is an entry like any other, handed out again while idleTimeToLive lasts. Pool and RcRef acquire
#        again after a failure.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> RcMap: refused, refused, refused (1 lookups)
#> RcRef: refused, connected, connected (2 lookups)
#> Pool: refused, connected, connected (2 lookups)
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Effect, Pool, RcMap, RcRef } from "effect"

const observe = (name, make, get) =>
  Effect.gen(function*() {
    let lookups = 0
    const connect = Effect.suspend(() => ++lookups === 1 ? Effect.fail("refused") : Effect.succeed("connected"))
    const resource = yield* make(connect)
    const got = []
    for (let i = 0; i < 3; i++) got.push(yield* Effect.merge(Effect.scoped(get(resource))))
    console.log(`${name}: ${got.join(", ")} (${lookups} lookups)`)
  })
const idleTimeToLive = "1 minute"
const program = Effect.gen(function*() {
  const byKey = (connect) => RcMap.make({ lookup: () => connect, idleTimeToLive })
  yield* observe("RcMap", byKey, (map) => RcMap.get(map, "key"))
  yield* observe("RcRef", (acquire) => RcRef.make({ acquire, idleTimeToLive }), RcRef.get)
  yield* observe("Pool", (acquire) => Pool.make({ acquire, size: 1 }), Pool.get)
})
await Effect.runPromise(Effect.scoped(program))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
