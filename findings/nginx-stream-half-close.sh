#!/usr/bin/env bash
# Guess: nginx's stream proxy copies TCP: a FIN goes on to the target, and the answer comes back, as with haproxy
#        (mode tcp).
# Seen:  By default nginx closes both sides at the first FIN. The answer is lost, and the client sees a clean end. The
#        option proxy_half_close is off by default.
# With:  Debian 12's nginx 1.22.1-9+deb12u11 and libnginx-mod-stream, Node 20.20.2, 2026-11-28
# Output (the target answers 300 ms after the client's FIN):
#> direct: "answer to question"
#> by default: ""
#> with proxy_half_close: "answer to question"
set -euo pipefail
command -v node >/dev/null || { echo "Node.js is needed" >&2; exit 2; }
program=$(PATH=$PATH:/usr/sbin command -v nginx) || { echo "Debian's package nginx is needed" >&2; exit 2; }
module=$(dirname "$program")/../lib/nginx/modules/ngx_stream_module.so
[[ -e $module ]] || { echo "Debian's package libnginx-mod-stream is needed" >&2; exit 2; }
export program module
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
cat >find.mjs <<'EOF'
import { spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"

const module = process.env.module
const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)))
const target = createServer({ allowHalfOpen: true }, (socket) => {
  let question = ""
  socket.on("error", () => {})
  socket.on("data", (chunk) => question += chunk)
  socket.on("end", () => setTimeout(() => socket.end(`answer to ${question}`), 300))
})
const port = await listen(target)
const free = [createServer(), createServer()]
const proxyPorts = await Promise.all(free.map(listen))
await Promise.all(free.map((server) => new Promise((resolve) => server.close(resolve))))
const server = (listen, option) => `server { listen 127.0.0.1:${listen}; proxy_pass 127.0.0.1:${port}; ${option} }`
mkdirSync("logs")
writeFileSync(
  "nginx.conf",
  `daemon off; master_process off; error_log logs/error.log; pid nginx.pid;
  load_module ${module};
  events {}
  stream { ${server(proxyPorts[0], "")} ${server(proxyPorts[1], "proxy_half_close on;")} }
  `
)
const folder = process.cwd()
const nginx = ["-p", folder, "-e", `${folder}/logs/error.log`, "-c", `${folder}/nginx.conf`]
const proxy = spawn(process.env.program, nginx, { stdio: "ignore" })

const dial = (port) =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => resolve(socket))
    socket.once("error", reject)
  })
const ask = async (port) => {
  let socket
  for (let tries = 0; socket === undefined && tries < 50; tries++) {
    socket = await dial(port).catch(() => new Promise((resolve) => setTimeout(resolve, 100)))
  }
  return new Promise((resolve) => {
    let answer = ""
    socket.on("data", (chunk) => answer += chunk)
    socket.on("close", () => resolve(JSON.stringify(answer)))
    socket.on("end", () => socket.destroy())
    socket.end("question")
  })
}
process.once("exit", () => proxy.kill())
process.once("SIGTERM", () => process.exit(1))
console.log(`direct: ${await ask(port)}`)
console.log(`by default: ${await ask(proxyPorts[0])}`)
console.log(`with proxy_half_close: ${await ask(proxyPorts[1])}`)
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
