#!/usr/bin/env bash
# Guess: A write to a Socket of @effect/platform fails with a SocketError once the connection has ended.
# Seen:  The write waits for the next Socket.run, without a time limit, and so does a write before the first run.
# With:  @effect/platform 0.97.2, effect 3.22.4, ws 8.23.0, Node 20.20.2, 2026-11-28
# Output:
#> before the first run: waits
#> after the connection has ended: waits
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4 @effect/platform@0.97.2 ws@8.23.0
cat >find.mjs <<'EOF'
import * as Socket from "@effect/platform/Socket"
import { Effect, Option } from "effect"
import { WebSocket, WebSocketServer } from "ws"

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
await new Promise((resolve) => server.once("listening", resolve))
server.on("connection", (socket) => socket.close(1000))
const program = Effect.gen(function*() {
  const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${server.address().port}`)
  const write = yield* socket.writer
  const observe = (name) =>
    Effect.map(
      Effect.timeoutOption(Effect.exit(write("hello")), "1 second"),
      (exit) => console.log(`${name}: ${Option.match(exit, { onNone: () => "waits", onSome: ({ _tag }) => _tag })}`)
    )
  yield* observe("before the first run")
  yield* socket.run(() => {})
  yield* observe("after the connection has ended")
})
const constructor = Effect.provideService(Socket.WebSocketConstructor, (url) => new WebSocket(url))
await Effect.runPromise(Effect.scoped(constructor(program)))
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
