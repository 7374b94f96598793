#!/usr/bin/env bash
# Guess: A message that a parent sends before its child listens waits in the channel, for a worker of node:cluster as
#        for a child of child_process.fork: cluster.fork is built on it.
# Seen:  The child of child_process.fork gets the message late. The worker of node:cluster never does: cluster's own
#        listener reads the channel from the start, and messages of the program pass by without an error.
# With:  Node 20.20.2, and Node 26.12.1 from npm, 2026-11-29
# Output:
#> here child_process.fork: the child heard early
#> here cluster.fork: the child heard no message
#> 26.12.1 child_process.fork: the child heard early
#> 26.12.1 cluster.fork: the child heard no message
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
node=node-$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts "node26@npm:$node@26.12.1"
cat >parent.mjs <<'EOF'
import { fork } from "node:child_process"
import cluster from "node:cluster"

cluster.setupPrimary({ exec: "child.mjs" })
const ways = { "child_process.fork": () => fork("child.mjs"), "cluster.fork": () => cluster.fork() }
for (const [name, start] of Object.entries(ways)) {
  const child = start()
  child.send("early")
  const heard = await new Promise((resolve) => child.on("message", resolve))
  console.log(`${process.argv[2]} ${name}: the child heard ${heard}`)
  const ended = new Promise((resolve) => child.on("exit", resolve))
  child.kill()
  await ended
}
EOF
cat >child.mjs <<'EOF'
import { setTimeout } from "node:timers/promises"

await setTimeout(300) // such as an import that takes a while
let heard = "no message"
process.on("message", (message) => heard = message)
await setTimeout(300)
process.send(heard)
EOF
seen=$(timeout 30 node parent.mjs here; timeout 30 node_modules/node26/bin/node parent.mjs 26.12.1)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
