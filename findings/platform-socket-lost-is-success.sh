#!/usr/bin/env bash
# Guess: Socket.run of @effect/platform succeeds after an orderly close and fails when the connection is lost.
# Seen:  A lost connection (close code 1006) is a success. A close frame without a code (1005), which ws sends for
#        ws.close(), is a failure, and 1001 is one, too. The option closeCodeIsError changes that.
# With:  @effect/platform 0.97.2, effect 3.22.4, ws 8.23.0, Node 20.20.2, 2026-11-28
# Output (the server's deed: how Socket.run ends):
#> close(1000): Success
#> close(): Failure Close 1005
#> close(1001): Failure Close 1001
#> TCP connection cut: Success
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
import { Effect } from "effect"
import { WebSocket, WebSocketServer } from "ws"

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
await new Promise((resolve) => server.once("listening", resolve))
const observe = async (name, end) => {
  server.once("connection", (socket) => setTimeout(end, 50, socket))
  const run = Effect.gen(function*() {
    const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${server.address().port}`)
    yield* socket.run(() => {})
  })
  const constructor = Effect.provideService(Socket.WebSocketConstructor, (url) => new WebSocket(url))
  const exit = await Effect.runPromiseExit(Effect.scoped(constructor(run)))
  const error = exit._tag === "Failure" ? [exit.cause.error.reason, exit.cause.error.code] : []
  console.log(`${name}:`, exit._tag, ...error)
}
await observe("close(1000)", (socket) => socket.close(1000))
await observe("close()", (socket) => socket.close())
await observe("close(1001)", (socket) => socket.close(1001))
await observe("TCP connection cut", (socket) => socket.terminate())
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
