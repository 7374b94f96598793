#!/usr/bin/env bash
# Guess: The finaliser of Stream.ensuringWith gets the exit of that stream. A stream that cannot fail gives no
#        failure, and an early take differs from the natural end.
# Seen:  The finaliser gets the consumer's exit. The consumer's error comes in although the stream's error type is
#        never. Stream.take gives Success, as the natural end does.
# With:  effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> read to its end: Success
#> left after one of three: Success
#> consumer fails: Failure consumer
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4
cat >find.mjs <<'EOF'
import { Effect, Stream } from "effect"

const source = (name) =>
  Stream.make(1, 2, 3).pipe(
    Stream.rechunk(1),
    Stream.ensuringWith((exit) =>
      Effect.sync(() => console.log(`${name}: ${exit._tag}`, ...(exit._tag === "Failure" ? [exit.cause.error] : [])))
    )
  )
await Effect.runPromise(Stream.runDrain(source("read to its end")))
await Effect.runPromise(Stream.runDrain(Stream.take(source("left after one of three"), 1)))
await Effect.runPromiseExit(Stream.runForEach(source("consumer fails"), () => Effect.fail("consumer")))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
