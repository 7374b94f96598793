#!/usr/bin/env bash
# Guess: An http.Server enforces headersTimeout, and closeAllConnections() closes its connections, wherever they come
#        from. server.emit("connection", socket) is the documented way to feed a server.
# Seen:  Both work from a list of connections that listen() starts. A server that never listens times no client out,
#        and its closeAllConnections() does nothing.
# With:  Node 20.20.2 (22.23.3, 24.21.0 and 26.12.1 the same), 2026-11-28
# Output (headersTimeout is 500 ms; the client sends nothing):
#> listening server: client timed out, closeAllConnections() closes
#> fed server: client waits, closeAllConnections() closes nothing
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
cat >find.mjs <<'EOF'
import { createServer } from "node:http"
import { connect, createServer as createTcpServer } from "node:net"

const stays = (client) =>
  new Promise((resolve) => {
    client.once("close", () => resolve(false))
    setTimeout(resolve, 2000, true)
  })
const dial = ({ port }) => connect(port, "127.0.0.1").on("error", () => {}).resume()
const timeouts = { headersTimeout: 500, requestTimeout: 1000, connectionsCheckingInterval: 100 }
for (const name of ["listening", "fed"]) {
  const server = createServer(timeouts, () => {})
  const listener = name === "fed" ? createTcpServer((socket) => server.emit("connection", socket)) : server
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve))
  const waits = await stays(dial(listener.address()))
  const client = dial(listener.address())
  client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
  await new Promise((resolve) => server.once("request", resolve))
  server.closeAllConnections()
  const kept = await stays(client)
  const timeout = waits ? "client waits" : "client timed out"
  console.log(`${name} server: ${timeout}, closeAllConnections() closes${kept ? " nothing" : ""}`)
}
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
