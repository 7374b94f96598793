#!/usr/bin/env bash
# Guess: Duplex.toWeb gives two independent halves. After cancel() of the readable, the writable can still send its
#        answer, as the socket underneath can (allowHalfOpen).
# Seen:  cancel() of the readable destroys the whole socket, and abort() of the writable does, too. On Node 22 and
#        later the next write even fulfils, and its bytes reach no peer. close() leaves reading alone.
# With:  Node 20.20.2 (22.23.3, 24.21.0 and 26.12.1 the same), 2026-11-28
# Output:
#> readable.cancel(), then write and close: AbortError, peer got ""
#> writable.abort(), then read: AbortError
#> writable.close(), then read: "answer"
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
cat >find.mjs <<'EOF'
import { connect, createServer } from "node:net"
import { Duplex } from "node:stream"

const server = createServer({ allowHalfOpen: true })
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const observe = async (name, use) => {
  const received = new Promise((resolve) =>
    server.once("connection", (peer) => {
      let text = ""
      peer.on("data", (chunk) => text += chunk)
      peer.on("error", () => {})
      peer.on("close", () => resolve(JSON.stringify(text)))
      setTimeout(() => peer.end("answer"), 100)
    })
  )
  const socket = connect({ port: server.address().port, host: "127.0.0.1", allowHalfOpen: true })
  await new Promise((resolve) => socket.once("connect", resolve))
  socket.on("error", () => {})
  const { readable, writable } = Duplex.toWeb(socket)
  const [reader, writer] = [readable.getReader(), writable.getWriter()]
  for (const half of [reader, writer]) half.closed.catch(() => {})
  console.log(`${name}: ${await use(reader, writer, received)}`)
  socket.destroy()
}
const read = (reader) =>
  reader.read().then(({ value }) => JSON.stringify(new TextDecoder().decode(value)), ({ name }) => name)

await observe("readable.cancel(), then write and close", async (reader, writer, received) => {
  await reader.cancel()
  const write = writer.write(Buffer.from("more")).then(() => writer.close())
  return `${await write.then(() => "fine", ({ name }) => name)}, peer got ${await received}`
})
await observe("writable.abort(), then read", async (reader, writer) => {
  await writer.abort()
  return read(reader)
})
await observe("writable.close(), then read", async (reader, writer) => {
  await writer.close()
  return read(reader)
})
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
