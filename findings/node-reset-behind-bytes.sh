#!/usr/bin/env bash
# Guess: net.Socket tells a reader of a reset by "error" with ECONNRESET, whatever was read before.
# Seen:  When bytes and RST wait together for the next turn of the event loop, Node 20 and 22 give the bytes and then
#        a clean "end". A cut download looks complete. Node 24 and 26 give ECONNRESET.
# With:  Node 22.23.3 and 24.21.0 (20.20.2 as 22, 26.12.1 as 24) on Linux, 2026-11-28
# Output:
#> v22: 1000 bytes, end
#> v24: 1000 bytes, ECONNRESET
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
import { fork } from "node:child_process"
import { connect, createServer } from "node:net"

if (process.argv[2] === "sender") {
  const server = createServer((socket) => socket.write("x".repeat(1000), () => socket.resetAndDestroy()))
  server.listen(0, "127.0.0.1", () => process.send(server.address().port))
} else {
  const sender = fork(process.argv[1], ["sender"])
  const port = await new Promise((resolve) => sender.once("message", resolve))
  const socket = connect(port, "127.0.0.1", () => {
    // a busy turn, in which the bytes and the RST arrive
    const start = Date.now()
    while (Date.now() - start < 500);
  })
  let bytes = 0
  let end = "nothing"
  socket.on("data", (chunk) => bytes += chunk.length)
  socket.on("end", () => end = "end")
  socket.on("error", (error) => end = error.code)
  await new Promise((resolve) => socket.once("close", resolve))
  console.log(`${process.version.split(".")[0]}: ${bytes} bytes, ${end}`)
  sender.kill()
}
EOF
seen=$(for version in 22 24; do timeout 20 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
