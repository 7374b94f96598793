#!/usr/bin/env bash
# Guess: Socket.run of @effect/platform calls its handler for one message after the other, and ends after the last
#        one.
# Seen:  Each message gets a fiber of its own, so a quick handler overtakes a slow one. The close frame interrupts the
#        handlers of earlier messages: the last of three is never handled here.
# With:  @effect/platform 0.97.2, effect 3.22.4, ws 8.23.0, Node 20.20.2, 2026-11-28
# Output (the server sends "slow", "quick", "never done", and closes with 1000 after "slow" has been handled):
#> handled: quick slow
#> interrupted: never done
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts effect@3.22.4 @effect/platform@0.97.2 ws@8.23.0
cat >find.mjs <<'EOF'
import * as Socket from "@effect/platform/Socket"
import { Deferred, Effect } from "effect"
import { WebSocket, WebSocketServer } from "ws"

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
await new Promise((resolve) => server.once("listening", resolve))
server.once("connection", (socket) => {
  socket.send("slow")
  socket.send("quick")
  socket.send("never done")
  socket.once("message", () => socket.close(1000))
})
const handled = []
const interrupted = []
const program = Effect.gen(function*() {
  const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${server.address().port}`)
  const write = yield* socket.writer
  const quickIsDone = yield* Deferred.make()
  const note = (message) => Effect.sync(() => handled.push(message))
  const handlers = {
    "slow": Effect.andThen(Deferred.await(quickIsDone), note("slow")),
    "quick": Effect.andThen(note("quick"), Deferred.succeed(quickIsDone, undefined)),
    "never done": Effect.andThen(
      write("close, please"),
      Effect.onInterrupt(Effect.sleep("5 seconds"), () => Effect.sync(() => interrupted.push("never done")))
    )
  }
  yield* socket.runRaw((message) => handlers[message])
})
const constructor = Effect.provideService(Socket.WebSocketConstructor, (url) => new WebSocket(url))
await Effect.runPromise(Effect.scoped(constructor(program)))
console.log("handled:", ...handled)
console.log("interrupted:", ...interrupted)
server.close()
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
