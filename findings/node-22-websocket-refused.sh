#!/usr/bin/env bash
# Guess: A WebSocket that could not be opened fires "error" and then "close", as the standard demands. Versions agree
#        about a lost connection.
# Seen:  Node 22 fires no "close" for a refused handshake and no "error" for a lost connection. Node 24 fires both in
#        both cases. A program that dials again at "close" stands still on Node 22.
# With:  Node 22.23.3 and 24.21.0 (26.12.1 as 24), 2026-11-28
# Output:
#> v22: handshake answered by 401: error
#> v22: connection lost: open close
#> v24: handshake answered by 401: error close
#> v24: connection lost: open error close
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

const server = createServer()
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
server.on("upgrade", ({ headers, url }, tcp) => {
  tcp.on("error", () => {})
  if (url === "/refused") return tcp.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
  const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash("sha1").update(key).digest("base64")
  const lines = ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket"]
  tcp.end([...lines, `sec-websocket-accept: ${accept}`, "", ""].join("\r\n"))
})
for (const [name, path] of [["handshake answered by 401", "refused"], ["connection lost", "lost"]]) {
  const events = []
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}/${path}`)
  for (const type of ["open", "error", "close"]) socket.addEventListener(type, () => events.push(type))
  await new Promise((resolve) => setTimeout(resolve, 1500))
  console.log(`${process.version.split(".")[0]}: ${name}: ${events.join(" ")}`)
}
process.exit()
EOF
seen=$(for version in 22 24; do timeout 20 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
