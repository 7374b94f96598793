#!/usr/bin/env bash
# Guess: A Redis client fails the command whose connection is lost before the answer: nobody knows whether Redis has run
#        it, so the program decides. The package redis does so.
# Seen:  ioredis dials again and sends the command once more, whichever it is. One incr() counts twice and succeeds.
#        Without autoResendUnfulfilledCommands the call neither succeeds nor fails, although the client is ready again.
#        With maxRetriesPerRequest 0 the call fails.
# With:  ioredis 6.0.0 (5.11.1 the same), redis 6.3.1, Debian 12's redis-server 7.0.15, Node 20.20.2, 2026-11-30
# Output (one call of incr; its first connection is lost behind Redis, with the answer):
#> ioredis: incr gives 2, the counter is 2
#> ioredis without autoResendUnfulfilledCommands: incr waits, the counter is 1
#> ioredis with maxRetriesPerRequest 0: incr fails, the counter is 1
#> redis: incr fails, the counter is 1
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
program=$(command -v redis-server) || { echo "Debian's package redis-server is needed" >&2; exit 2; }
export program
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts ioredis@6.0.0 redis@6.3.1
cat >find.mjs <<'EOF'
import { Redis } from "ioredis"
import { spawn } from "node:child_process"
import { connect, createServer } from "node:net"
import { createClient } from "redis"

const unixsocket = `${process.cwd()}/redis.sock`
const args = ["--port", "0", "--unixsocket", unixsocket, "--save", ""]
const server = spawn(process.env.program, args, { stdio: "ignore" })
process.once("exit", () => server.kill())
process.once("SIGTERM", () => process.exit(1))
for (let tries = 0; tries < 50; tries++) {
  const probe = connect(unixsocket)
  const open = new Promise((resolve, reject) => probe.once("connect", resolve).once("error", reject))
  const isOpen = await open.then(() => true, () => false)
  probe.destroy()
  if (isOpen) break
  await new Promise((resolve) => setTimeout(resolve, 100))
}

// a relay that drops the first answer to INCR together with the connection
let drops = false
const relay = createServer((near) => {
  const far = connect(unixsocket)
  let counts = false
  near.on("data", (data) => {
    counts ||= data.includes("INCR") || data.includes("incr")
    far.write(data)
  })
  far.on("data", (data) => {
    if (!counts || !drops) return near.write(data)
    drops = false
    near.destroy()
  })
  for (const socket of [near, far]) socket.on("error", () => {})
  near.on("close", () => far.destroy())
})
await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve))
const { port } = relay.address()

const observe = async (name, client, key) => {
  drops = true
  const outcome = client.incr(key).then((count) => `gives ${count}`, () => "fails")
  const late = new Promise((resolve) => setTimeout(resolve, 2000, "waits"))
  const seen = await Promise.race([outcome, late])
  console.log(`${name}: incr ${seen}, the counter is ${await client.get(key)}`)
}
const variants = {
  "ioredis": {},
  "ioredis without autoResendUnfulfilledCommands": { autoResendUnfulfilledCommands: false },
  "ioredis with maxRetriesPerRequest 0": { maxRetriesPerRequest: 0 }
}
for (const [name, options] of Object.entries(variants)) {
  const client = new Redis({ host: "127.0.0.1", port, ...options })
  client.on("error", () => {})
  await client.ping()
  await observe(name, client, name)
}
const client = createClient({ socket: { host: "127.0.0.1", port } })
client.on("error", () => {})
await client.connect()
await observe("redis", client, "redis")
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
