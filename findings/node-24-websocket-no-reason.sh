#!/usr/bin/env bash
# Guess: The error event of a WebSocket that cannot connect tells why on Node, such as ECONNREFUSED.
# Seen:  Node 22 has one text for every reason. On Node 24 and 26 the event and its error, a TypeError, have an empty
#        message and no cause.
# With:  Node 22.23.5, 24.22.3 and 26.12.1 from npm, 2026-11-28
# Output (the message of the event, and the error, for a port without a server):
#> v22: "Received network error or non-101 status code.", Error with the same message, no cause
#> v24: "", TypeError with the same message, no cause
#> v26: "", TypeError with the same message, no cause
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
node=node-$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts \
  "node22@npm:$node@22.23.5" "node24@npm:$node@24.22.3" "node26@npm:$node@26.12.1"
cat >find.mjs <<'EOF'
new WebSocket("ws://127.0.0.1:1").addEventListener("error", ({ error, message }) => {
  const cause = error.cause === undefined && error.code === undefined ? "no cause" : "a cause"
  const text = `${error.constructor.name} with ${error.message === message ? "the same" : "another"} message`
  console.log(`${process.version.split(".")[0]}: ${JSON.stringify(message)}, ${text}, ${cause}`)
})
EOF
seen=$(for version in 22 24 26; do timeout 20 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
