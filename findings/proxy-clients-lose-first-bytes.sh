#!/usr/bin/env bash
# Guess: A socket that a proxy client hands out has all bytes that came behind the proxy's answer, also where the
#        server speaks first (SSH, SMTP, FTP, MySQL).
# Seen:  The server's banner may come in one segment with the proxy's answer. socks emits the banner once as "data",
#        before a program that awaits anything can listen. https-proxy-agent drops the banner.
# With:  socks 2.8.9, https-proxy-agent 7.0.6, Node 20.20.2, 2026-11-28
# Output (the target sends "banner " at once and "goodbye" later):
#> socks, listener in the same turn: banner goodbye
#> socks, for await: goodbye
#> https-proxy-agent: goodbye
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  socks@2.8.9 https-proxy-agent@7.0.6
cat >find.mjs <<'EOF'
import { HttpsProxyAgent } from "https-proxy-agent"
import { EventEmitter } from "node:events"
import { createServer } from "node:net"
import { SocksClient } from "socks"

const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)))
const speak = (socket, answer) => {
  socket.write(Buffer.concat([answer, Buffer.from("banner ")]))
  setTimeout(() => socket.end("goodbye"), 300)
}
const socks = createServer((socket) => {
  socket.once("data", () => {
    socket.once("data", () => speak(socket, Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 22])))
    socket.write(Buffer.from([5, 0]))
  })
})
const http = createServer((socket) => socket.once("data", () => speak(socket, Buffer.from("HTTP/1.1 200 OK\r\n\r\n"))))

const destination = { host: "127.0.0.1", port: 22 }
const proxy = { host: "127.0.0.1", port: await listen(socks), type: 5 }
const readAll = async (socket) => {
  let text = ""
  for await (const chunk of socket) text += chunk
  return text
}
const first = await SocksClient.createConnection({ proxy, command: "connect", destination })
let text = ""
first.socket.on("data", (chunk) => text += chunk)
await new Promise((resolve) => first.socket.once("close", resolve))
console.log(`socks, listener in the same turn: ${text}`)

const second = await SocksClient.createConnection({ proxy, command: "connect", destination })
console.log(`socks, for await: ${await readAll(second.socket)}`)

const agent = new HttpsProxyAgent(`http://127.0.0.1:${await listen(http)}`)
const third = await agent.connect(new EventEmitter(), { ...destination, secureEndpoint: false })
console.log(`https-proxy-agent: ${await readAll(third)}`)
socks.close()
http.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
