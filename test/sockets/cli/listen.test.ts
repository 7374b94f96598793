import { describe, expect, it } from "@effect/vitest"
import * as Tcp from "effect-wsmux/cli/tcp"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Peer from "../../e2e/cli/tcp.js"
import { patience, within } from "../../support/within.js"

describe("Tcp", () => {
  it.scopedLive("Tcp.listen goes on when the server cannot accept connections", () =>
    Effect.gen(function*() {
      const peers = yield* Queue.unbounded<string>()
      const server = Tcp.makeServer(Duration.infinity)
      server.on("connection", (socket) => peers.unsafeOffer(Tcp.addressesOf(socket).peer))
      const { port } = yield* Tcp.listen(server, { host: "127.0.0.1", port: 0 })
      const next = Queue.take(peers).pipe(within(patience, "the next connection"))
      yield* Peer.connect(port)
      yield* next
      for (let i = 0; i < 2; i++) server.emit("error", new Error("accept EMFILE"))
      yield* Peer.connect(port)
      expect(yield* next).toMatch(/^127\.0\.0\.1:\d+$/)
    }))
})
