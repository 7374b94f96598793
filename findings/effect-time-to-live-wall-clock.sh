#!/usr/bin/env bash
# Guess: A time to live of 100 ms ends after 100 ms, whatever the wall clock does.
# Seen:  RcMap, Cache and Effect.cachedWithTTL compare wall-clock times. After the clock was set back by an hour,
#        RcMap keeps the idle resource and the caches answer the old value. RcRef and Pool.makeWithTTL let go. (The
#        script sets the clock back by replacing Date.now, which effect's Clock reads.)
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output (one second after the last use, with a time to live of 100 ms):
#> clock left alone: RcMap released, Cache fresh, cachedWithTTL fresh, RcRef released, Pool released
#> clock set back: RcMap kept, Cache stale, cachedWithTTL stale, RcRef released, Pool released
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Cache, Effect, Pool, RcMap, RcRef } from "effect"

const timeToLive = "100 millis"
const observe = (name, setBack) =>
  Effect.scoped(Effect.gen(function*() {
    const released = new Set()
    const resource = (of) => Effect.acquireRelease(Effect.void, () => Effect.sync(() => released.add(of)))
    let counter = 0
    const count = Effect.sync(() => ++counter)
    const map = yield* RcMap.make({ lookup: () => resource("RcMap"), idleTimeToLive: timeToLive })
    const ref = yield* RcRef.make({ acquire: resource("RcRef"), idleTimeToLive: timeToLive })
    const pool = yield* Pool.makeWithTTL({ acquire: resource("Pool"), min: 0, max: 1, timeToLive })
    const cache = yield* Cache.make({ lookup: () => count, capacity: 1, timeToLive })
    const cached = yield* Effect.cachedWithTTL(count, timeToLive)
    yield* Effect.scoped(RcMap.get(map, "key"))
    yield* Effect.scoped(RcRef.get(ref))
    yield* Effect.scoped(Pool.get(pool))
    const before = [yield* cache.get("key"), yield* cached]
    setBack()
    yield* Effect.sleep("1 second")
    const fate = (of) => `${of} ${released.has(of) ? "released" : "kept"}`
    const age = (value, old) => value === old ? "stale" : "fresh"
    const ages = [
      `Cache ${age(yield* cache.get("key"), before[0])}`,
      `cachedWithTTL ${age(yield* cached, before[1])}`
    ]
    console.log(`clock ${name}: ${[fate("RcMap"), ...ages, fate("RcRef"), fate("Pool")].join(", ")}`)
  }))
await Effect.runPromise(observe("left alone", () => {}))
const now = Date.now
await Effect.runPromise(observe("set back", () => Date.now = () => now() - 3_600_000))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
