#!/usr/bin/env bash
# Guess: A lost WebSocket closes with code 1006 and wasClean false in every runtime, as the standard says.
# Seen:  Deno gives the code 0. When the connection ends before the peer has answered the program's own close frame,
#        Deno gives 1005 and wasClean true.
# With:  Deno 2.9.6 from npm (Node 24.21.0, Bun 1.4.5 and ws 8.23.0 give 1006 and false), 2026-11-28
# Output:
#> connection lost: 0, wasClean false
#> handshake answered by 401: 0, wasClean false
#> connection lost after close(4000): 1005, wasClean true
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  deno@2.9.6
cat >find.mjs <<'EOF'
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { writeFileSync } from "node:fs"
import { createServer } from "node:http"

const server = createServer()
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
server.on("upgrade", ({ headers, url }, tcp) => {
  tcp.on("error", () => {})
  if (url === "/refuse") return tcp.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
  const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash("sha1").update(key).digest("base64")
  const lines = ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket"]
  tcp.write([...lines, `sec-websocket-accept: ${accept}`, "", ""].join("\r\n"))
  if (url === "/lose") setTimeout(() => tcp.end(), 50)
  // the first bytes from the client are its close frame
  else tcp.once("data", () => tcp.end())
})
writeFileSync(
  "client.mjs",
  `const observe = (name, path, opened) =>
    new Promise((resolve) => {
      const socket = new WebSocket("ws://127.0.0.1:${server.address().port}/" + path)
      socket.onopen = () => opened(socket)
      socket.onclose = ({ code, wasClean }) => {
        console.log(name + ": " + code + ", wasClean " + wasClean)
        resolve()
      }
    })
  await observe("connection lost", "lose", () => {})
  await observe("handshake answered by 401", "refuse", () => {})
  await observe("connection lost after close(4000)", "close", (socket) => socket.close(4000))
`
)
const stdio = ["ignore", "inherit", "inherit"]
const deno = spawn("node_modules/.bin/deno", ["run", "--allow-net", "client.mjs"], { stdio })
deno.once("exit", () => server.close())
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
