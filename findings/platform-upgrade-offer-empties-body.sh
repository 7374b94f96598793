#!/usr/bin/env bash
# Guess: A server that takes WebSockets serves every other request as before. A request that offers "Upgrade: h2c", as
#        Java's HttpClient and curl --http2 send it, is answered over HTTP/1.1 with its body read.
# Seen:  Node hands each request with an offer to a listener of "upgrade", and up to Node 24 reads no body then.
#        HttpServer of @effect/platform-node always listens, also for an app without WebSockets: its route sees an
#        empty body and answers 200. On Node 26 the body comes. A server with ws attached refuses the request.
# With:  @effect/platform-node 0.108.2, @effect/platform 0.97.2, effect 3.22.4, ws 8.23.0, Node 24.22.3 and 26.12.1
#        from npm (20.20.2 as 24; OpenJDK 17 and curl 7.88.1 as clients get the same), 2026-11-30
# Output (POST of "order"; each server answers what it read):
#> v24: node:http: 200 read "order"
#> v24: node:http with ws: 405 Invalid HTTP method
#> v24: @effect/platform-node, without the offer: 200 read "order"
#> v24: @effect/platform-node: 200 read ""
#> v26: node:http: 200 read "order"
#> v26: node:http with ws: 405 Invalid HTTP method
#> v26: @effect/platform-node, without the offer: 200 read "order"
#> v26: @effect/platform-node: 200 read "order"
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
platform=$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/platform-node@0.108.2 ws@8.23.0 \
  "node24@npm:node-$platform@24.22.3" \
  "node26@npm:node-$platform@26.12.1"
cat >find.mjs <<'EOF'
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { createServer, request } from "node:http"
import { text } from "node:stream/consumers"
import { WebSocketServer } from "ws"

const version = process.version.split(".")[0]
const offer = { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQAAP__" }
const post = (server, offered) =>
  new Promise((resolve, reject) => {
    const headers = { "content-length": 5, ...offered }
    const options = { host: "127.0.0.1", port: server.address().port, method: "POST", headers, agent: false }
    const sent = request(options, async (response) => resolve(`${response.statusCode} ${await text(response)}`))
    sent.on("error", reject)
    sent.end("order")
  })
const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)))
const app = async (request, response) => response.end(`read "${await text(request)}"`)
const plain = await listen(createServer(app))
console.log(`${version}: node:http: ${await post(plain, offer)}`)
const attached = await listen(createServer(app))
new WebSocketServer({ server: attached })
console.log(`${version}: node:http with ws: ${await post(attached, offer)}`)

const route = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  return HttpServerResponse.text(`read "${yield* request.text}"`)
})
const server = createServer()
const layer = NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0 })
const serve = HttpServer.serve(HttpRouter.post(HttpRouter.empty, "/", route))
const observe = Effect.promise(async () => {
  console.log(`${version}: @effect/platform-node, without the offer: ${await post(server, {})}`)
  console.log(`${version}: @effect/platform-node: ${await post(server, offer)}`)
})
await Effect.runPromise(Effect.provide(observe, Layer.provide(serve, layer)))
process.exit()
EOF
seen=$(for version in 24 26; do timeout 30 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
