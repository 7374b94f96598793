#!/usr/bin/env bash
# Guess: new WebSocket(url, ["a", "b"]) fails when the server chooses no subprotocol, or one that was not offered. The
#        standard demands that; ws 8.23.0, Node 24.21.0 and Bun 1.4.5 do so.
# Seen:  Deno opens the connection in both cases. Its protocol is then empty, or the one that the program never
#        offered.
# With:  Deno 2.9.6 from npm, 2026-11-28
# Output (offered: a, b):
#> server chooses none: open, protocol ""
#> server chooses other: open, protocol "other"
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
  tcp.once("data", () => tcp.end())
  const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash("sha1").update(key).digest("base64")
  const lines = ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket"]
  if (url === "/other") lines.push("sec-websocket-protocol: other")
  tcp.write([...lines, `sec-websocket-accept: ${accept}`, "", ""].join("\r\n"))
})
writeFileSync(
  "client.mjs",
  `for (const choice of ["none", "other"]) {
    const socket = new WebSocket("ws://127.0.0.1:${server.address().port}/" + choice, ["a", "b"])
    const event = await new Promise((resolve) => socket.onopen = socket.onerror = resolve)
    console.log("server chooses " + choice + ": " + event.type + ", protocol " + JSON.stringify(socket.protocol))
    socket.close()
  }
  Deno.exit()
`
)
const stdio = ["ignore", "inherit", "inherit"]
const deno = spawn("node_modules/.bin/deno", ["run", "--allow-net", "client.mjs"], { stdio })
deno.once("exit", () => server.close())
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
