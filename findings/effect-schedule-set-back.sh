#!/usr/bin/env bash
# Guess: Schedule.fixed keeps its beat and Schedule.upTo its bound when the wall clock is set back.
# Seen:  Both compute with wall-clock times. After the clock was set back by an hour, fixed beats more slowly, and
#        upTo exceeds its bound. Schedule.spaced keeps its pace. (The script sets the clock back by replacing
#        Date.now, which effect's Clock reads.)
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output (the clock is set back after 250 ms):
#> fixed 100 ms: slower than 125 ms a beat
#> spaced 25 ms up to 300 ms: still runs after 3 s
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Effect, Fiber, Schedule } from "effect"

const now = Date.now
const start = (schedule) => {
  const beats = []
  const beat = Effect.sync(() => beats.push(performance.now()))
  return { beats, fiber: Effect.runFork(Effect.repeat(beat, schedule)) }
}
const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis))
const fixed = start(Schedule.fixed("100 millis"))
const bounded = start(Schedule.spaced("25 millis").pipe(Schedule.upTo("300 millis")))
await sleep(250)
// 30 ms less than a multiple of the interval, so that the remainder of a negative number lengthens each beat
Date.now = () => now() - 3_599_970
await sleep(2750)
const last = fixed.beats.slice(-8)
const interval = (last.at(-1) - last[0]) / (last.length - 1)
console.log(`fixed 100 ms: ${interval > 125 ? "slower than 125 ms a beat" : "keeps its beat"}`)
const runs = bounded.fiber.unsafePoll() === null
console.log(`spaced 25 ms up to 300 ms: ${runs ? "still runs after 3 s" : "has ended"}`)
await Effect.runPromise(Fiber.interruptAll([fixed.fiber, bounded.fiber]))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
