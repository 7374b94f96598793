#!/usr/bin/env bash
# Guess: Effect.cached computes once. When the first caller is interrupted, another caller goes on or computes anew.
# Seen:  The interruption becomes the cached result. The caller that waited and all later callers end as interrupted,
#        although nothing interrupts them. Effect.cachedWithTTL goes on.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> cached: second caller interrupted, later caller interrupted, completed 0 times
#> cachedWithTTL: second caller 1, later caller 1, completed 1 times
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"

const describe = Exit.match({
  onFailure: (cause) => Cause.isInterruptedOnly(cause) ? "interrupted" : Cause.pretty(cause),
  onSuccess: String
})
const turns = Effect.repeatN(Effect.yieldNow(), 10)
const observe = (name, makeCached) =>
  Effect.gen(function*() {
    let completed = 0
    const answered = yield* Deferred.make()
    const cached = yield* makeCached(Effect.zipRight(Deferred.await(answered), Effect.sync(() => ++completed)))
    const first = yield* Effect.fork(cached)
    yield* turns
    const second = yield* Effect.fork(cached)
    yield* turns
    yield* Effect.fork(Fiber.interrupt(first))
    yield* turns
    yield* Deferred.succeed(answered, undefined)
    const waited = describe(yield* Fiber.await(second))
    const later = describe(yield* Effect.exit(cached))
    console.log(`${name}: second caller ${waited}, later caller ${later}, completed ${completed} times`)
  })
await Effect.runPromise(observe("cached", Effect.cached))
await Effect.runPromise(observe("cachedWithTTL", Effect.cachedWithTTL("1 hour")))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
