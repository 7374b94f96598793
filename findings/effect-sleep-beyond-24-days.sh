#!/usr/bin/env bash
# Guess: Effect.sleep wakes after any finite duration, and Schedule.cron fires each month, as both do under TestClock.
# Seen:  The live clock sets no timer for more than 2^31 - 1 ms (24.8 days): it takes such a sleep for one without an
#        end. The fiber never wakes, a time-out never comes, and a monthly cron stops, all without a warning.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-30
# Output (timers and Date of Node are advanced by node:test; the start is the 10th of December):
#> live: sleep of 24 days on day 24
#> live: sleep of 25 days never
#> live: time-out of 30 days never
#> live: weekly cron on day 4, 11, 18, 25, 32, 39, 46, 53, 60
#> live: monthly cron on day 22
#> TestClock: sleep of 24 days on day 24
#> TestClock: sleep of 25 days on day 25
#> TestClock: time-out of 30 days on day 30
#> TestClock: weekly cron on day 4, 11, 18, 25, 32, 39, 46, 53, 60
#> TestClock: monthly cron on day 22, 53
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Clock, Effect, Schedule, TestClock, TestContext } from "effect"
import { mock } from "node:test"

const day = 86_400_000
const start = Date.parse("2026-12-10T00:00:00Z")
const names = ["sleep of 24 days", "sleep of 25 days", "time-out of 30 days", "weekly cron", "monthly cron"]

const observe = (label, pass) => {
  const days = new Map(names.map((name) => [name, []]))
  const note = (name) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      days.get(name).push((now - start) / day)
    })
  return Effect.gen(function*() {
    yield* Effect.fork(Effect.andThen(Effect.sleep("24 days"), note(names[0])))
    yield* Effect.fork(Effect.andThen(Effect.sleep("25 days"), note(names[1])))
    yield* Effect.fork(Effect.andThen(Effect.timeoutOption(Effect.never, "30 days"), note(names[2])))
    yield* Effect.fork(Effect.schedule(note(names[3]), Schedule.cron("0 0 * * 1", "UTC")))
    yield* Effect.fork(Effect.schedule(note(names[4]), Schedule.cron("0 0 1 * *", "UTC")))
    for (let hour = 0; hour < 24 * 65; hour++) yield* pass
    for (const [name, on] of days) {
      console.log(`${label}: ${name} ${on.length > 0 ? `on day ${on.join(", ")}` : "never"}`)
    }
  })
}
// an hour of TestClock, or of Node's timers and Date, and a turn of the event loop for the fibers that woke
const passTest = TestClock.adjust("1 hour")
const passLive = Effect.promise(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  mock.timers.tick(3_600_000)
  await new Promise((resolve) => setImmediate(resolve))
})
mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: start })
await Effect.runPromise(observe("live", passLive))
mock.timers.reset()
const test = Effect.andThen(TestClock.setTime(start), observe("TestClock", passTest))
await Effect.runPromise(Effect.provide(test, TestContext.TestContext))
process.exit()
EOF
seen=$(timeout 30 node --no-warnings find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
