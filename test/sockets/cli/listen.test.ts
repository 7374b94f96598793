import { describe, expect, it } from "@effect/vitest"
import * as Tcp from "effect-wsmux/cli/tcp"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Queue from "effect/Queue"
import { channel } from "node:diagnostics_channel"
import type * as Net from "node:net"
import * as Peer from "../../e2e/cli/tcp.js"

/**
 * Waits for the server of the next connection that this process accepts. Hence the test has a file, and a process, of
 * its own.
 */
const nextServer = Effect.async<Net.Server>((resume) => {
  const accepted = channel("net.server.socket")
  const onSocket = (message: unknown) => {
    accepted.unsubscribe(onSocket)
    resume(Effect.succeed((message as { readonly socket: { readonly server: Net.Server } }).socket.server))
  }
  accepted.subscribe(onSocket)
})

describe("Tcp", () => {
  it.scopedLive("Tcp.listen goes on when the server cannot accept connections", () =>
    Effect.gen(function*() {
      const handled = yield* Queue.unbounded<string>()
      const { port } = yield* Tcp.listen(
        { host: "127.0.0.1", port: 0 },
        Duration.infinity,
        yield* FiberSet.make<void>(),
        ({ peer }) => Effect.zipRight(Queue.offer(handled, peer), Effect.never)
      )
      const server = yield* Effect.fork(nextServer)
      yield* Effect.yieldNow()
      yield* Peer.connect(port)
      yield* Queue.take(handled)
      for (let i = 0; i < 2; i++) (yield* server).emit("error", new Error("accept EMFILE"))
      yield* Peer.connect(port)
      expect(yield* Queue.take(handled)).toMatch(/^127\.0\.0\.1:\d+$/)
    }))
})
