#!/usr/bin/env bash
# Guess: TestClock ends an effect as live time does when the effect takes exactly as long as its time-out allows.
# Seen:  By live time the effect wins, as its timer was set first. By TestClock the time-out wins: of the sleeps that
#        are due at the same instant, the last one is woken first.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output (sleep("50 millis") with a time-out of 50 ms; three sleeps of 50 ms):
#> live: done in time, woken 1 2 3
#> TestClock: timed out, woken 3 2 1
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
import { Effect, Fiber, Option, TestClock, TestContext } from "effect"

const observe = (name, advance) =>
  Effect.gen(function*() {
    const bounded = yield* Effect.fork(Effect.timeoutOption(Effect.sleep("50 millis"), "50 millis"))
    yield* Effect.repeatN(Effect.yieldNow(), 10)
    const woken = []
    const sleepers = []
    for (const id of [1, 2, 3]) {
      sleepers.push(yield* Effect.fork(Effect.andThen(Effect.sleep("50 millis"), Effect.sync(() => woken.push(id)))))
      yield* Effect.repeatN(Effect.yieldNow(), 10)
    }
    yield* advance
    const fate = Option.isSome(yield* Fiber.join(bounded)) ? "done in time" : "timed out"
    yield* Fiber.joinAll(sleepers)
    console.log(`${name}: ${fate}, woken ${woken.join(" ")}`)
  })
await Effect.runPromise(observe("live", Effect.void))
const virtual = observe("TestClock", TestClock.adjust("50 millis"))
await Effect.runPromise(Effect.provide(virtual, TestContext.TestContext))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
