import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Queue from "effect/Queue"
import { channel } from "node:diagnostics_channel"
import type * as Net from "node:net"
import { listen } from "../../../src/cli/tcp.js"
import * as Tcp from "./tcp.js"

/** The server of the next connection that this process accepts. */
const nextServer = Effect.async<Net.Server>((resume) => {
  const accepted = channel("net.server.socket")
  const onSocket = (message: unknown) => {
    accepted.unsubscribe(onSocket)
    resume(Effect.succeed((message as { readonly socket: { readonly server: Net.Server } }).socket.server))
  }
  accepted.subscribe(onSocket)
})

describe("the listener of wsmux connect", () => {
  it.scopedLive("goes on when it cannot accept connections", () =>
    Effect.gen(function*() {
      const handled = yield* Queue.unbounded<string>()
      const { port } = yield* listen(
        { host: "127.0.0.1", port: 0 },
        Duration.infinity,
        yield* FiberSet.make<void>(),
        ({ peer }) => Effect.zipRight(Queue.offer(handled, peer), Effect.never)
      )
      const server = yield* Effect.fork(nextServer)
      yield* Effect.yieldNow()
      yield* Tcp.connect(port)
      yield* Queue.take(handled)
      for (let i = 0; i < 2; i++) (yield* server).emit("error", new Error("accept EMFILE"))
      yield* Tcp.connect(port)
      expect(yield* Queue.take(handled)).toMatch(/^127\.0\.0\.1:\d+$/)
    }))
})
