#!/usr/bin/env bash
# Guess: A WebSocket sends small messages at once: runtimes turn Nagle's algorithm off, as Node and Bun do.
# Seen:  Deno leaves it on. The second of two small messages waits until the server's kernel has acknowledged the
#        first, which takes 40 ms. A round trip that begins with two messages so takes 45 ms instead of 1 ms.
# With:  Deno 2.9.6, Bun 1.4.5 and Node 24.22.3 from npm, ws 8.23.0, Linux, 2026-11-28
# Output (round trips that begin with two messages):
#> Deno: above 20 ms
#> Bun: below 20 ms
#> Node: below 20 ms
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
node=node-$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --legacy-peer-deps \
  deno@2.9.6 bun@1.4.5 ws@8.23.0 "node24@npm:$node@24.22.3"
cat >client.mjs <<'EOF'
const name = typeof Deno !== "undefined" ? "Deno" : typeof Bun !== "undefined" ? "Bun" : "Node"
const socket = new WebSocket(process.argv[2])
await new Promise((resolve) => socket.onopen = resolve)
const since = performance.now()
for (let i = 0; i < 20; i++) {
  const answered = new Promise((resolve) => socket.onmessage = resolve)
  socket.send(new Uint8Array(5))
  socket.send(new Uint8Array(64))
  await answered
}
console.log(`${name}: ${(performance.now() - since) / 20 < 20 ? "below" : "above"} 20 ms`)
process.exit()
EOF
cat >find.mjs <<'EOF'
import { spawn } from "node:child_process"
import { once } from "node:events"
import { WebSocketServer } from "ws"

const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
await once(server, "listening")
server.on("connection", (socket) => socket.on("message", (data) => data.length === 64 && socket.send(data)))
const url = `ws://127.0.0.1:${server.address().port}`
const bin = "node_modules/.bin"
for (const command of [[`${bin}/deno`, "run", "--allow-all"], [`${bin}/bun`], ["node_modules/node24/bin/node"]]) {
  const [program, ...args] = command
  await once(spawn(program, [...args, "client.mjs", url], { stdio: ["ignore", "inherit", "inherit"] }), "exit")
}
process.exit()
EOF
seen=$(timeout 60 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
