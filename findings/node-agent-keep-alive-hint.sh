#!/usr/bin/env bash
# Guess: An http.Agent that keeps connections alive obeys the server's "Keep-Alive: timeout=5". Its idle connections end
#        before the server ends them.
# Seen:  The agent obeys only if it has a "timeout" of its own. Without one, an idle connection has no time limit, so a
#        request may take a connection that the server closes in that moment, and fails with ECONNRESET.
# With:  Node 20.20.2 and 24.21.0, 2026-11-28
# Output:
#> v20: server says timeout=5; idle time-out of an agent without timeout: none
#> v20: server says timeout=5; idle time-out of an agent with timeout 60000: 4000 ms
#> v24: server says timeout=5; idle time-out of an agent without timeout: none
#> v24: server says timeout=5; idle time-out of an agent with timeout 60000: 4000 ms
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
platform=$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts \
  "node20@npm:node-$platform@20.20.2" \
  "node24@npm:node-$platform@24.21.0"
cat >find.mjs <<'EOF'
import { Agent, createServer, get } from "node:http"

const server = createServer({ keepAliveTimeout: 5000 }, (_request, response) => response.end("ok"))
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const { port } = server.address()

const idleTimeoutOf = (options) =>
  new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: true, ...options })
    const request = get({ host: "127.0.0.1", port, agent }, (response) => {
      response.resume()
      request.once("close", () =>
        setImmediate(() => {
          const [idle] = Object.values(agent.freeSockets).flat()
          agent.destroy()
          resolve([response.headers["keep-alive"], idle.timeout])
        }))
    })
    request.on("error", reject)
  })

for (const options of [{}, { timeout: 60_000 }]) {
  const [hint, millis] = await idleTimeoutOf(options)
  const kind = options.timeout === undefined ? "without timeout" : `with timeout ${options.timeout}`
  const version = process.version.split(".")[0]
  console.log(`${version}: server says ${hint}; idle time-out of an agent ${kind}: ${millis ? `${millis} ms` : "none"}`)
}
server.close()
EOF
seen=$(for version in 20 24; do timeout 30 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
