#!/usr/bin/env bash
# Guess: NodeRuntime.runMain ends with the code 0 after success or a signal. A service whose main effect is interrupted
#        from within logs that and ends with another code, so that a supervisor starts it again.
# Seen:  The code is 0 and nothing is logged, whoever interrupted. A take from a queue that another fiber shuts down
#        does it, and so does Fiber.join of an interrupted fiber: the service is gone as if it had finished.
# With:  @effect/platform-node 0.108.2, @effect/platform 0.97.2, effect 3.22.4, Node 20.20.2, 2026-11-30
# Output (each main effect runs for ever unless something goes wrong):
#> a failure: code 1, logged
#> a take from a queue that is shut down: code 0, nothing logged
#> a join of a fiber that is interrupted: code 0, nothing logged
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/platform-node@0.108.2
cat >service.mjs <<'EOF'
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Fiber, Queue } from "effect"

const services = {
  "a failure": Effect.forever(Effect.fail("refused")),
  "a take from a queue that is shut down": Effect.gen(function*() {
    const queue = yield* Queue.unbounded()
    yield* Effect.fork(Effect.delay(Queue.shutdown(queue), "10 millis"))
    yield* Effect.forever(Queue.take(queue))
  }),
  "a join of a fiber that is interrupted": Effect.gen(function*() {
    const worker = yield* Effect.fork(Effect.never)
    yield* Effect.fork(Effect.delay(Fiber.interrupt(worker), "10 millis"))
    yield* Fiber.join(worker)
  })
}
NodeRuntime.runMain(services[process.argv[2]])
EOF
cat >find.mjs <<'EOF'
import { spawnSync } from "node:child_process"

const services = [
  "a failure",
  "a take from a queue that is shut down",
  "a join of a fiber that is interrupted"
]
for (const service of services) {
  const { status, stderr, stdout } = spawnSync(process.execPath, ["service.mjs", service], { timeout: 8000 })
  console.log(`${service}: code ${status}, ${stdout.length + stderr.length > 0 ? "" : "nothing "}logged`)
}
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
