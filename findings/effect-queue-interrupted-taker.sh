#!/usr/bin/env bash
# Guess: A fiber that waits in Queue.take and is interrupted takes nothing. The element stays for the next taker.
# Seen:  Queue, PubSub and TQueue hand the element to the waiting fiber at once. When the fiber is interrupted before
#        it runs, the element is lost. Mailbox gives the element only when its taker runs.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output (what is left for the next taker):
#> Queue: second
#> PubSub: second
#> TQueue: second
#> Mailbox: first second
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Effect, Fiber, Mailbox, PubSub, Queue, TQueue } from "effect"

const interruptTaker = (take, offer) =>
  Effect.gen(function*() {
    const taker = yield* Effect.fork(take)
    yield* Effect.yieldNow()
    yield* offer("first")
    yield* offer("second")
    yield* Fiber.interrupt(taker)
  })

const program = Effect.gen(function*() {
  const queue = yield* Queue.bounded(16)
  yield* interruptTaker(Queue.take(queue), (value) => Queue.offer(queue, value))
  console.log("Queue:", ...(yield* Queue.takeAll(queue)))

  const hub = yield* PubSub.bounded(16)
  const subscription = yield* PubSub.subscribe(hub)
  yield* interruptTaker(Queue.take(subscription), (value) => PubSub.publish(hub, value))
  console.log("PubSub:", ...(yield* Queue.takeAll(subscription)))

  const transactional = yield* TQueue.bounded(16)
  yield* interruptTaker(TQueue.take(transactional), (value) => TQueue.offer(transactional, value))
  console.log("TQueue:", ...(yield* TQueue.takeAll(transactional)))

  const mailbox = yield* Mailbox.make(16)
  yield* interruptTaker(mailbox.take, (value) => mailbox.offer(value))
  console.log("Mailbox:", ...(yield* mailbox.takeAll)[0])
})
await Effect.runPromise(Effect.scoped(program))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
