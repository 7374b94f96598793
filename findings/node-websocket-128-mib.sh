#!/usr/bin/env bash
# Guess: The global WebSocket takes messages of any size, as browsers do, or says why it refuses one.
# Seen:  128 MiB pass, and the connection closes as soon as a frame announces one byte more. The peer is sent the
#        reason. The program gets 1006 and an empty reason, and from Node 24 on an error event without a message.
# With:  Node 22.23.3 and 24.21.0 (26.12.1 as 24), 2026-11-28
# Output (the server sends only the header of a frame):
#> v22: 134217728 bytes: accepted
#> v22: 134217729 bytes: 1006 "", error "Payload size exceeds maximum allowed size"
#> v24: 134217728 bytes: accepted
#> v24: 134217729 bytes: 1006 "", error ""
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
platform=$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts \
  "node22@npm:node-$platform@22.23.3" \
  "node24@npm:node-$platform@24.21.0"
cat >find.mjs <<'EOF'
import { createHash } from "node:crypto"
import { createServer } from "node:http"

const version = process.version.split(".")[0]
const server = createServer()
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
for (const announced of [134_217_728, 134_217_729]) {
  server.once("upgrade", ({ headers }, tcp) => {
    const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
    const accept = createHash("sha1").update(key).digest("base64")
    const lines = ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket"]
    tcp.on("error", () => {})
    tcp.resume()
    tcp.write([...lines, `sec-websocket-accept: ${accept}`, "", ""].join("\r\n"))
    const frame = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0])
    frame.writeUInt32BE(announced, 6)
    tcp.write(frame)
    setTimeout(() => tcp.destroy(), 1500)
  })
  let message = ""
  const opened = performance.now()
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}`)
  socket.onerror = (event) => message = event.message
  const { code, reason } = await new Promise((resolve) => socket.onclose = resolve)
  const refused = performance.now() - opened < 1000
  const answer = refused ? `${code} ${JSON.stringify(reason)}, error ${JSON.stringify(message)}` : "accepted"
  console.log(`${version}: ${announced} bytes: ${answer}`)
}
server.close()
EOF
seen=$(for version in 22 24; do timeout 20 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
