#!/usr/bin/env bash
# Guess: The package ws is plain JavaScript, so on Bun its "upgrade" event has the response of node:http, with the
#        TCP socket in response.socket, as on Node.
# Seen:  Bun puts an implementation of its own in the place of ws, whichever version is installed. Its "upgrade" event
#        comes, and response.socket is null there.
# With:  Bun 1.4.5 from npm, ws 8.23.0, Node 20.20.2, 2026-11-29
# Output:
#> node: upgrade with a Socket, then open
#> bun: upgrade with null, then open
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund bun@1.4.5 ws@8.23.0
cat >dial.mjs <<'EOF'
import { once } from "node:events"
import { WebSocket, WebSocketServer } from "ws"

const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
await once(server, "listening")
const ws = new WebSocket(`ws://127.0.0.1:${server.address().port}`)
const opened = once(ws, "open")
const [{ socket }] = await once(ws, "upgrade")
const found = socket === null ? "null" : `a ${socket.constructor.name}`
await opened
console.log(`${process.argv[2]}: upgrade with ${found}, then open`)
process.exit()
EOF
seen=$(timeout 30 node dial.mjs node; timeout 30 node_modules/.bin/bun dial.mjs bun)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
