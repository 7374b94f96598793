#!/usr/bin/env bash
# Guess: With NODE_USE_ENV_PROXY the global WebSocket asks the proxy for a tunnel (CONNECT), in each version.
# Seen:  Node 22 and 24 do. Node 26 sends an absolute-form GET with "Upgrade: websocket" for ws: addresses, which a
#        proxy has to understand and forward.
# With:  Node 24.21.0 and 26.12.1 (22.23.3 as 24), 2026-11-28
# Output (the request line that the proxy gets):
#> v24: CONNECT example.invalid:80 HTTP/1.1
#> v26: GET http://example.invalid/path HTTP/1.1, Upgrade
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
platform=$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts \
  "node24@npm:node-$platform@24.21.0" \
  "node26@npm:node-$platform@26.12.1"
cat >find.mjs <<'EOF'
import { fork } from "node:child_process"
import { createServer } from "node:net"

if (process.argv[2] === "client") {
  const socket = new WebSocket("ws://example.invalid/path")
  socket.onerror = socket.onclose = () => {}
} else {
  const proxy = createServer((socket) => {
    socket.on("error", () => {})
    socket.once("data", (data) => {
      const [line, ...fields] = data.toString().split("\r\n")
      const upgrade = fields.some((field) => /^upgrade: websocket$/i.test(field)) ? ", Upgrade" : ""
      console.log(`${process.version.split(".")[0]}: ${line}${upgrade}`)
      socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
      client.kill()
      proxy.close()
    })
  })
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve))
  const http_proxy = `http://127.0.0.1:${proxy.address().port}`
  const variables = { NODE_USE_ENV_PROXY: "1", http_proxy, HTTP_PROXY: http_proxy, no_proxy: "", NO_PROXY: "" }
  const env = { ...process.env, ...variables }
  var client = fork(process.argv[1], ["client"], { env, stdio: "ignore" })
}
EOF
seen=$(for version in 24 26; do timeout 20 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
