#!/usr/bin/env bash
# Guess: A semaphore serves its waiters in turn, so a fiber that waits for two permits gets them next.
# Seen:  Any fiber that asks for free permits gets them. A series of small requests keeps a large one waiting.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output (two permits; "large" wants both and came first):
#> small small small small small large
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Effect } from "effect"

const program = Effect.gen(function*() {
  const semaphore = yield* Effect.makeSemaphore(2)
  const order = []
  yield* semaphore.take(1)
  yield* Effect.fork(semaphore.withPermits(2)(Effect.sync(() => order.push("large"))))
  yield* Effect.yieldNow()
  for (let i = 0; i < 5; i++) {
    // one permit is always held, by the last small request or by the first take
    yield* semaphore.withPermits(1)(Effect.sync(() => order.push("small")))
    yield* Effect.yieldNow()
  }
  yield* semaphore.release(1)
  yield* Effect.sleep("10 millis")
  console.log(order.join(" "))
})
await Effect.runPromise(program)
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
