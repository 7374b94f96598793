#!/usr/bin/env bash
# Guess: When the stream of a response's body fails, the server of @effect/platform-node aborts the response, so that
#        its client sees an error behind the bytes that were sent.
# Seen:  The server ends the response as if it were whole: the last chunk of the body follows, and the connection goes
#        on. A client cannot tell half of the body from all of it.
# With:  @effect/platform-node 0.108.2, @effect/platform 0.97.2, effect 3.22.4, Node 20.20.2, 2026-11-29
# Output:
#> status 200, body "half", complete true
#> the last bytes on the wire: "0\r\n\r\n"
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/platform-node@0.108.2 @effect/platform-node-shared@0.61.1 \
  @effect/rpc@0.76.2 @effect/sql@0.52.1 @effect/cluster@0.60.2 @effect/workflow@0.19.1 @effect/experimental@0.61.1
cat >serve.mjs <<'EOF'
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Logger, Stream } from "effect"
import http from "node:http"
import net from "node:net"

const node = http.createServer()
const body = Stream.concat(Stream.make(Buffer.from("half")), Stream.fail("the disk is gone"))
const app = Effect.succeed(HttpServerResponse.stream(body))
const program = Effect.gen(function*() {
  const server = yield* NodeHttpServer.make(() => node, { port: 0, host: "127.0.0.1" })
  yield* server.serve(app)
  const { port } = node.address()
  yield* Effect.promise(() =>
    new Promise((resolve) =>
      http.get({ port, host: "127.0.0.1" }, (response) => {
        let text = ""
        response.on("data", (data) => text += data).on("error", () => {}).on("close", () => {
          console.log(`status ${response.statusCode}, body "${text}", complete ${response.complete}`)
          resolve()
        })
      })))
  yield* Effect.promise(() =>
    new Promise((resolve) => {
      let wire = ""
      const socket = net.connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
      socket.on("data", (data) => wire += data).on("close", resolve)
      setTimeout(() => socket.destroy(), 500)
      socket.on("close", () => console.log("the last bytes on the wire:", JSON.stringify(wire.slice(-5))))
    }))
})
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Logger.remove(Logger.defaultLogger))))
process.exit()
EOF
seen=$(timeout 30 node serve.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
