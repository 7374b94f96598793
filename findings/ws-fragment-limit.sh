#!/usr/bin/env bash
# Guess: ws takes a message in any number of fragments up to maxPayload bytes, as RFC 6455 has no bound.
# Seen:  ws refuses more than 16,384 fragments with 1008, however few bytes they have: here after 16 KiB, where
#        maxPayload allows 100 MiB. ws as a sender has no such bound.
# With:  ws 8.23.0, Node 20.20.2, 2026-11-28
# Output (fragments of one byte):
#> 16384 fragments: message of 16384 bytes
#> 16385 fragments: closed with 1008
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
import { WebSocket, WebSocketServer } from "ws"

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false })
await new Promise((resolve) => server.once("listening", resolve))
for (const fragments of [16_384, 16_385]) {
  const outcome = new Promise((resolve) =>
    server.once("connection", (socket) => {
      socket.on("error", () => {})
      socket.on("message", (data) => resolve(`message of ${data.length} bytes`))
    })
  )
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}`)
  const closed = new Promise((resolve) => client.once("close", (code) => resolve(`closed with ${code}`)))
  client.on("error", () => {})
  await new Promise((resolve) => client.once("open", resolve))
  for (let i = 1; i <= fragments; i++) client.send("x", { fin: i === fragments })
  console.log(`${fragments} fragments: ${await Promise.race([outcome, closed])}`)
  client.terminate()
}
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
