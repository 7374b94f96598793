#!/usr/bin/env bash
# Guess: ws follows the standard interface: the message event fires no more after close(), as readyState is not OPEN.
# Seen:  ws delivers the messages that come before the peer's close frame, with readyState CLOSING. Deno 2.9.6 does,
#        too. The WebSocket of undici, which is Node's global one, drops them, as the standard demands. Bun 1.4.5 does
#        so, too.
# With:  ws 8.23.0, undici 7.30.2, Node 20.20.2, 2026-11-28
# Output (the server answers the close frame by a message and its own close frame):
#> ws: message "late", readyState 2, close 4000
#> undici: close 4000
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  ws@8.23.0 undici@7.30.2
cat >find.mjs <<'EOF'
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import { WebSocket as FromUndici } from "undici"
import { WebSocket as FromWs } from "ws"

const server = createServer()
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
server.on("upgrade", ({ headers }, tcp) => {
  tcp.on("error", () => {})
  const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash("sha1").update(key).digest("base64")
  const lines = ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket"]
  tcp.write([...lines, `sec-websocket-accept: ${accept}`, "", ""].join("\r\n"))
  // text "late" in a frame, then a close frame with 4000
  tcp.once("data", () => tcp.end(Buffer.from([0x81, 4, 0x6c, 0x61, 0x74, 0x65, 0x88, 2, 0x0f, 0xa0])))
})
for (const [name, WebSocket] of [["ws", FromWs], ["undici", FromUndici]]) {
  const events = []
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}`)
  socket.onopen = () => socket.close(4000)
  socket.onmessage = ({ data }) => events.push(`message "${data}", readyState ${socket.readyState}`)
  const { code } = await new Promise((resolve) => socket.onclose = resolve)
  console.log(`${name}: ${[...events, `close ${code}`].join(", ")}`)
}
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
