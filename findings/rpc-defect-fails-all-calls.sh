#!/usr/bin/env bash
# Guess: A defect in a handler of @effect/rpc fails the call that met it. Other calls of the same client go on.
# Seen:  The server tells the client of the defect without naming the call, and the client fails all calls in flight
#        with it. The server still runs the others to their end. The option disableFatalDefects changes that.
# With:  @effect/rpc 0.76.2, @effect/platform 0.97.2, @effect/platform-node 0.108.2, effect 3.22.4, ws 8.23.0,
#        Node 20.20.2, 2026-11-30
# Output (over one WebSocket; the call of Slow is in flight when the handler of Bad dies):
#> by default: Bad died of a bug, Slow died of a bug; the server ran Slow to its end
#> with disableFatalDefects: Bad died of a bug, Slow gave done; the server ran Slow to its end
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/platform-node@0.108.2 @effect/rpc@0.76.2 ws@8.23.0
cat >find.mjs <<'EOF'
import * as HttpServer from "@effect/platform/HttpServer"
import * as Socket from "@effect/platform/Socket"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "@effect/rpc"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Schema } from "effect"
import { createServer } from "node:http"
import { WebSocket } from "ws"

const rpcs = ["Slow", "Bad"].map((name) => Rpc.make(name, { success: Schema.String }))
const group = RpcGroup.make(...rpcs)
const fateOf = Exit.match({
  onSuccess: (value) => `gave ${value}`,
  onFailure: (cause) => `died of ${Cause.squash(cause).message}`
})
const observe = (label, options) =>
  Effect.gen(function*() {
    const started = yield* Deferred.make()
    const badIsOver = yield* Deferred.make()
    const ended = yield* Deferred.make()
    const handlers = group.toLayer({
      Bad: () => Effect.die(new Error("a bug")),
      Slow: () =>
        Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Deferred.await(badIsOver)),
          Effect.tap(Deferred.succeed(ended, "ran Slow to its end")),
          Effect.as("done")
        )
    })
    const server = createServer()
    const app = RpcServer.toHttpAppWebsocket(group, options).pipe(Effect.map(HttpServer.serve()), Layer.unwrapScoped)
    const http = NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0 })
    yield* Layer.build(Layer.provide(app, Layer.mergeAll(handlers, RpcSerialization.layerJson, http)))
    const socket = Layer.provide(
      Socket.layerWebSocket(`ws://127.0.0.1:${server.address().port}`),
      Layer.succeed(Socket.WebSocketConstructor, (url) => new WebSocket(url))
    )
    const protocol = Layer.provide(RpcClient.layerProtocolSocket(), Layer.merge(RpcSerialization.layerJson, socket))
    const client = yield* Effect.provide(RpcClient.make(group), yield* Layer.build(protocol))
    const slow = yield* Effect.fork(client.Slow())
    yield* Deferred.await(started)
    const bad = yield* Effect.exit(client.Bad())
    yield* Deferred.succeed(badIsOver, undefined)
    const facts = `Bad ${fateOf(bad)}, Slow ${fateOf(yield* Fiber.await(slow))}`
    console.log(`${label}: ${facts}; the server ${yield* Deferred.await(ended)}`)
  }).pipe(Effect.scoped, Effect.provide(Logger.remove(Logger.defaultLogger)))
await Effect.runPromise(observe("by default", {}))
await Effect.runPromise(observe("with disableFatalDefects", { disableFatalDefects: true }))
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
