#!/usr/bin/env bash
# Guess: Stream.peel answers the sink's result and the rest of the stream, which fails as the stream would have
#        failed.
# Seen:  The types say so, yet a failure of the rest arrives as a defect: a ChannelException around the error.
#        Effect.catchTag and Stream.catchAll do not meet it.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> without peel: Fail connection lost
#> rest after peel: Die ChannelException connection lost
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Effect, Sink, Stream } from "effect"

const source = Stream.concat(Stream.make(1, 2, 3), Stream.fail("connection lost")).pipe(Stream.rechunk(1))
const report = (name, exit) => {
  const { _tag, defect, error } = exit.cause
  console.log(`${name}: ${_tag} ${_tag === "Die" ? `${defect._tag} ${defect.error}` : error}`)
}
const program = Effect.gen(function*() {
  report("without peel", yield* Effect.exit(Stream.runDrain(Stream.drop(source, 1))))
  const [, rest] = yield* Stream.peel(source, Sink.take(1))
  report("rest after peel", yield* Effect.exit(Stream.runDrain(rest)))
})
await Effect.runPromise(Effect.scoped(program))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
