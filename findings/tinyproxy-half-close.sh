#!/usr/bin/env bash
# Guess: A CONNECT tunnel through tinyproxy carries a half-close: the client ends its question by a FIN and still gets
#        the answer.
# Seen:  tinyproxy closes both sides as soon as one has sent its FIN. The answer is lost, and the client sees a clean
#        end.
# With:  Debian 12's tinyproxy 1.11.1-2.1+deb12u1, Node 20.20.2, 2026-11-28
# Output (the target answers 300 ms after the client's FIN):
#> direct: "answer to question"
#> through tinyproxy: ""
set -euo pipefail
command -v node >/dev/null || { echo "Node.js is needed" >&2; exit 2; }
program=$(PATH=$PATH:/usr/sbin command -v tinyproxy) || { echo "Debian's package tinyproxy is needed" >&2; exit 2; }
export program
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
cat >find.mjs <<'EOF'
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"

const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)))
const target = createServer({ allowHalfOpen: true }, (socket) => {
  let question = ""
  socket.on("error", () => {})
  socket.on("data", (chunk) => question += chunk)
  socket.on("end", () => setTimeout(() => socket.end(`answer to ${question}`), 300))
})
const port = await listen(target)
const free = createServer()
const proxyPort = await listen(free)
await new Promise((resolve) => free.close(resolve))
const lines = [`Port ${proxyPort}`, "Listen 127.0.0.1", "Allow 127.0.0.1", "MaxClients 10", "LogLevel Critical"]
writeFileSync("tinyproxy.conf", lines.join("\n") + "\n")
const proxy = spawn(process.env.program, ["-d", "-c", "tinyproxy.conf"], { stdio: "ignore" })

const dial = (port) =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => resolve(socket))
    socket.once("error", reject)
  })
const ask = (socket) =>
  new Promise((resolve) => {
    let answer = ""
    socket.on("data", (chunk) => answer += chunk)
    socket.on("close", () => resolve(JSON.stringify(answer)))
    socket.on("end", () => socket.destroy())
    socket.end("question")
  })
process.once("exit", () => proxy.kill())
process.once("SIGTERM", () => process.exit(1))
console.log(`direct: ${await ask(await dial(port))}`)
let socket
for (let tries = 0; socket === undefined && tries < 50; tries++) {
  socket = await dial(proxyPort).catch(() => new Promise((resolve) => setTimeout(resolve, 100)))
}
socket.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`)
const head = await new Promise((resolve) => socket.once("data", (data) => resolve(data.toString())))
console.log(`through tinyproxy: ${head.includes(" 200 ") ? await ask(socket) : head}`)
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
