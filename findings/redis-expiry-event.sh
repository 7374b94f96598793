#!/usr/bin/env bash
# Guess: Redis tells of an expired key (notify-keyspace-events Ex) when its time is over, or a little later.
# Seen:  Redis tells when it finds out: by a periodic look at some keys that have a time to live, or when a command
#        asks for the key. Among 200,000 other keys Redis told nothing within three seconds.
# With:  Debian 12's redis-server 7.0.15, Node 20.20.2, 2026-11-28
# Output (a key with a time to live of 200 ms):
#> alone: told within 1 s
#> among 200,000 keys with an hour to live: nothing told within 3 s, told when asked for
set -euo pipefail
command -v node >/dev/null || { echo "Node.js is needed" >&2; exit 2; }
program=$(command -v redis-server) || { echo "Debian's package redis-server is needed" >&2; exit 2; }
export program
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
cat >find.mjs <<'EOF'
import { spawn } from "node:child_process"
import { connect } from "node:net"

const options = { port: 0, unixsocket: `${process.cwd()}/redis.sock`, save: "", "notify-keyspace-events": "Ex" }
const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
const redis = spawn(process.env.program, args, { stdio: "ignore" })
process.once("exit", () => redis.kill())
process.once("SIGTERM", () => process.exit(1))
const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis))
const dial = async () => {
  for (let tries = 0; tries < 50; tries++) {
    const socket = connect(options.unixsocket)
    const open = new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject))
    if (await open.then(() => true, () => sleep(100))) return socket
  }
  throw new Error("redis-server does not listen")
}
const commands = await dial()
const send = (...words) => {
  const answer = new Promise((resolve) => commands.once("data", resolve))
  commands.write([`*${words.length}`, ...words.flatMap((word) => [`$${word.length}`, word]), ""].join("\r\n"))
  return answer
}
const told = new Set()
const events = await dial()
events.write("SUBSCRIBE __keyevent@0__:expired\r\n")
events.on("data", (data) => ["first", "second"].filter((key) => data.includes(key)).forEach((key) => told.add(key)))
await sleep(200)

await send("SET", "first", "value", "PX", "200")
await sleep(1200)
console.log(`alone: ${told.has("first") ? "" : "nothing "}told within 1 s`)

await send("EVAL", "for i = 1, 200000 do redis.call('SET', i, '', 'EX', 3600) end", "0")
await send("SET", "second", "value", "PX", "200")
await sleep(3200)
const late = told.has("second") ? "" : "nothing "
await send("EXISTS", "second")
await sleep(200)
const asked = told.has("second") ? "told when asked for" : "never told"
console.log(`among 200,000 keys with an hour to live: ${late}told within 3 s, ${asked}`)
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
