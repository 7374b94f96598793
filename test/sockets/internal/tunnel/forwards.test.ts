import { describe, expect, it } from "@effect/vitest"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { heldBytes } from "../../../../src/internal/tcp/socketReader.js"
import * as Tcp from "../../../e2e/cli/tcp.js"
import { quietly } from "../../../support/observe.js"
import { makeSessions } from "../../../support/sessions.js"
import { detachable, eventually, listening, portOf, standstill } from "../../../support/transports.js"

// The bytes that wait are counted for the process, so this test has a file of its own.
describe("Forwards", () => {
  it.scopedLive("Forwards stops the sender when the target reads nothing, and holds no bytes afterwards", () =>
    Effect.gen(function*() {
      const wide = { streamBufferSize: 262_144 }
      const target = yield* Tcp.listen
      const { client, server } = yield* makeSessions(quietly({ client: wide, server: wide }))
      yield* Effect.forkScoped(TcpTunnel.serve(server, {
        connect: () => Net.connect({ port: target.port, host: "127.0.0.1", allowHalfOpen: true })
      }))
      let accepted: Net.Socket | undefined
      const listener = yield* listening(Net.createServer({ allowHalfOpen: true }))
      const [, close] = yield* detachable(
        TcpTunnel.forward(client, listener, { onConnection: (socket) => accepted = socket })
      )
      const near = yield* Tcp.connect(portOf(listener))
      const size = 64 * 1024 * 1024 // more than the kernel takes
      yield* Effect.fork(near.write(new Uint8Array(size)))
      yield* target.accept
      yield* eventually(() => heldBytes() > 0)
      yield* standstill(() => accepted!.bytesRead)
      expect(accepted!.bytesRead).toBeLessThan(size)
      expect(heldBytes()).toBeLessThanOrEqual(64 * 1024)
      yield* near.reset
      yield* close
      expect(heldBytes()).toBe(0)
    }))
})
