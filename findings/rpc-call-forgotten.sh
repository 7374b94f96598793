#!/usr/bin/env bash
# Guess: @effect/rpc with retryTransientErrors dials again when a silent connection leaves its pings unanswered. Then
#        the client sends the calls in flight again or fails them.
# Seen:  The client dials again, and a new call works. The call in flight is neither sent again nor failed: its fiber
#        waits on. Without the option, the call fails with an RpcClientError.
# With:  @effect/rpc 0.76.2, @effect/platform 0.97.2, effect 3.22.4, ws 8.23.0, Node 20.20.2, 2026-11-28
# Output (the first connection answers nothing, the second answers each call; the clock is a TestClock):
#> retryTransientErrors false: connections 2, new call answered, call in flight failed with RpcClientError
#> retryTransientErrors true: connections 2, new call answered, call in flight waits
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/rpc@0.76.2 ws@8.23.0
cat >find.mjs <<'EOF'
import * as Socket from "@effect/platform/Socket"
import { Rpc, RpcClient, RpcGroup, RpcSerialization } from "@effect/rpc"
import { Effect, Fiber, Layer, Schema, TestClock, TestContext } from "effect"
import { WebSocket, WebSocketServer } from "ws"

const group = RpcGroup.make(Rpc.make("Hello", { success: Schema.String }))
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
await new Promise((resolve) => server.once("listening", resolve))
let connections = 0
server.on("connection", (socket) => {
  const isSilent = ++connections === 1
  socket.on("message", (data) => {
    const { _tag, id } = JSON.parse(data)
    if (isSilent) return
    const exit = { _tag: "Success", value: "hello" }
    if (_tag === "Request") socket.send(JSON.stringify({ _tag: "Exit", requestId: id, exit }))
    if (_tag === "Ping") socket.send(JSON.stringify({ _tag: "Pong" }))
  })
})
const realTime = (millis) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))
const until = (condition) => Effect.iterate(0, { while: () => !condition(), body: () => realTime(10) })

const observe = (retryTransientErrors) => {
  connections = 0
  const program = Effect.gen(function*() {
    const client = yield* RpcClient.make(group)
    const inFlight = yield* Effect.fork(client.Hello())
    yield* until(() => server.clients.size > 0)
    // a ping every ten seconds; the second one that is due finds the first one unanswered
    for (let i = 0; i < 4; i++) {
      yield* realTime(200)
      yield* TestClock.adjust("10 seconds")
    }
    yield* until(() => connections === 2)
    yield* realTime(200)
    const answer = yield* Effect.merge(client.Hello())
    yield* TestClock.adjust("5 seconds")
    yield* realTime(500)
    const exit = inFlight.unsafePoll()
    const fate = exit === null ? "waits" : exit._tag === "Success" ? "answered" : `failed with ${exit.cause.error._tag}`
    const again = answer === "hello" ? "answered" : "failed"
    const facts = `connections ${connections}, new call ${again}, call in flight ${fate}`
    console.log(`retryTransientErrors ${retryTransientErrors}: ${facts}`)
    yield* Fiber.interruptFork(inFlight)
  })
  const socket = Layer.provide(
    Socket.layerWebSocket(`ws://127.0.0.1:${server.address().port}`),
    Layer.succeed(Socket.WebSocketConstructor, (url) => new WebSocket(url))
  )
  const protocol = RpcClient.layerProtocolSocket({ retryTransientErrors })
  const layer = Layer.provide(protocol, Layer.merge(RpcSerialization.layerJson, socket))
  return Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer), Effect.provide(TestContext.TestContext)))
}
await observe(false)
await observe(true)
process.exit()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
