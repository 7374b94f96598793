import { describe, expect, it } from "@effect/vitest"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import { acceptPlatform, type Options, rawClient, signal, webSocket } from "../../../../support/transports.js"
import { listen } from "../../../../support/transportSuite.js"
import { encodeFrame } from "../../../../support/webSocketFrames.js"

describe("NodeTransport.fromSocket", () => {
  const route = (options?: Options) =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptPlatform(options)
      const raw = yield* rawClient(url, undefined, { allowHalfOpen: true })
      yield* raw.answer
      return { ...raw, transport: yield* accepted }
    })

  it.scopedLive("NodeTransport.fromSocket has TCP addresses and pings when no message has come", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptPlatform()
      const ws = yield* webSocket(url)
      yield* signal(ws, "open")
      const transport = yield* accepted
      expect([transport.localAddress, transport.remoteAddress].map(({ _tag }) => _tag)).toEqual([
        "TcpAddress",
        "TcpAddress"
      ])
      const [pinged, ponged] = [signal(ws, "ping"), signal(ws, "pong")]
      transport.ping?.()
      yield* Effect.all([pinged, ponged])
    }))

  it.scopedLive("NodeTransport.fromSocket refuses a first message when its header exceeds the limit", () =>
    Effect.gen(function*() {
      const { socket, transport } = yield* route({ maxMessageSize: 1000 })
      const events = yield* listen(transport)
      const ended = signal(socket, "end")
      const unfinished = encodeFrame({ opcode: 0x2, payload: new Uint8Array(1001), key: Buffer.alloc(4) })
      socket.write(unfinished.subarray(0, 200))
      expect(yield* events.ended).toMatchObject({ code: 1006, cause: expect.any(RangeError) })
      yield* ended
    }))

  it.scopedLive("NodeTransport.fromSocket takes the fast path when the first message is large", () =>
    Effect.gen(function*() {
      const { socket, transport } = yield* route()
      const events = yield* listen(transport)
      const message = new Uint8Array(200_000).fill(7)
      socket.write(encodeFrame({ opcode: 0x2, payload: message, key: Buffer.from([1, 2, 3, 4]) }))
      const first = yield* events.next
      expect(Buffer.compare(first, message)).toBe(0)
      // Through the parser of ws, a message keeps more memory: ws joins the socket's reads.
      expect(first.buffer.byteLength).toBeLessThan(1.25 * message.byteLength)
    }))

  it.scopedLive("Session ends with KeepAliveExpired when its peer stalls within its first message", () =>
    Effect.gen(function*() {
      const { closed, socket, transport } = yield* route()
      const settings = { keepAliveInterval: "100 millis", closeTimeout: "20 millis" } as const
      const session = yield* Effect.provideService(Session.makeServer(settings), Transport, transport)
      socket.on("end", () => socket.end()).resume()
      socket.write(encodeFrame({ opcode: 0x2, payload: new Uint8Array(100_000), key: Buffer.alloc(4) }).subarray(0, -1))
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "KeepAliveExpired" })
      yield* closed
    }))
})
