#!/usr/bin/env bash
# Guess: createWebSocketStream of ws ends only after an orderly close. A lost connection or a close with 1011 destroys
#        the stream with an error.
# Seen:  The stream always ends cleanly, without "error". stream.pipeline succeeds although half of the bytes are
#        missing. Only the WebSocket's own "close" event knows.
# With:  ws 8.23.0, Node 20.20.2, 2026-11-28
# Output (the server sends 4 of 8 bytes, then this; the fate of stream.pipeline):
#> connection cut: pipeline succeeds with 4 bytes, close code 1006
#> close(1011): pipeline succeeds with 4 bytes, close code 1011
#> close(1000): pipeline succeeds with 4 bytes, close code 1000
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  ws@8.23.0
cat >find.mjs <<'EOF'
import { PassThrough } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createWebSocketStream, WebSocket, WebSocketServer } from "ws"

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
await new Promise((resolve) => server.once("listening", resolve))
const observe = async (name, end) => {
  server.once("connection", (socket) => {
    socket.send("half")
    setTimeout(end, 50, socket)
  })
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}`)
  const closed = new Promise((resolve) => socket.once("close", resolve))
  let bytes = 0
  const count = new PassThrough().on("data", (chunk) => bytes += chunk.length)
  const fate = await pipeline(createWebSocketStream(socket), count).then(() => "succeeds", () => "fails")
  console.log(`${name}: pipeline ${fate} with ${bytes} bytes, close code ${await closed}`)
}
await observe("connection cut", (socket) => socket.terminate())
await observe("close(1011)", (socket) => socket.close(1011, "disk failure"))
await observe("close(1000)", (socket) => socket.close(1000))
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
