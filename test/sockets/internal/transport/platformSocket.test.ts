import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type * as Http from "node:http"
import type { WebSocket } from "ws"
import { bytes, text } from "../../../support/bytes.js"
import {
  acceptPlatform,
  dialPlatform,
  eventually,
  type Options,
  portOf,
  rawClient,
  signal,
  standardConstructor,
  tcpServer,
  webSocket,
  webSocketServer,
  wired
} from "../../../support/transports.js"
import { listen, transportSuite } from "../../../support/transportSuite.js"
import { encodeFrame } from "../../../support/webSocketFrames.js"

transportSuite("platform sockets", wired["platform sockets"]!, { addresses: false })
transportSuite("portable platform sockets", wired["portable platform sockets"]!, { addresses: false })

const dialStandard = (url: string, binaryType: BinaryType) =>
  Socket.makeWebSocket(url).pipe(
    Effect.provideService(Socket.WebSocketConstructor, (url, protocols) => {
      const ws = standardConstructor(url, protocols)
      ws.binaryType = binaryType
      return ws
    }),
    Effect.flatMap((socket) => WebSocketTransport.fromSocket(socket))
  )

const makePeer = Effect.gen(function*() {
  const { server, url, webSockets } = yield* webSocketServer
  const connected = signal<[WebSocket, Http.IncomingMessage]>(webSockets, "connection")
  return { url, port: portOf(server), connected }
})

describe("WebSocketTransport.fromSocket", () => {
  it.scopedLive("WebSocketTransport.fromSocket fails with SocketError when the socket does not open", () =>
    Effect.gen(function*() {
      const { port } = yield* Effect.scoped(tcpServer(() => {}))
      const failure = yield* Effect.flip(dialPlatform(`ws://127.0.0.1:${port}`))
      expect(failure).toMatchObject({ _tag: "SocketError", reason: "Open" })
    }))

  it.scopedLive("WebSocketTransport.fromSocket has TCP addresses when the first message has come", () =>
    Effect.gen(function*() {
      const { connected, port, url } = yield* makePeer
      const transport = yield* dialPlatform(url)
      const events = yield* listen(transport)
      const [peer, request] = yield* connected
      const message = signal<[Buffer, boolean]>(peer, "message")
      const unknown = { _tag: "OpaqueAddress", name: "socket" }
      expect([transport.localAddress, transport.remoteAddress]).toEqual([unknown, unknown])
      transport.send([bytes("hello")])
      expect(yield* message).toEqual([Buffer.from("hello"), true])
      peer.send(Buffer.from("hello"))
      yield* events.next
      const tcp = (port: number | undefined) => ({ _tag: "TcpAddress", hostname: "127.0.0.1", port })
      expect([transport.localAddress, transport.remoteAddress]).toEqual([tcp(request.socket.remotePort), tcp(port)])
    }))

  it.scopedLive("WebSocketTransport.fromSocket keeps its order of sends when messages come", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const transport = yield* dialPlatform(url)
      const [peer] = yield* connected
      const received: Array<string> = []
      const over = Effect.async<void>((resume) => {
        peer.on("message", (data) => {
          received.push(data.toString())
          if (received.at(-1) === "last") resume(Effect.void)
        })
      })
      const receiving = yield* Effect.fork(over)
      const expected: Array<string> = []
      const send = (message: string) => {
        expected.push(message)
        transport.send([bytes(message)])
      }
      transport.listen({
        onMessage: (message) => send(`after ${text(message)}`),
        onText: () => {},
        onWritable: () => {},
        onClose: () => {}
      })
      yield* Effect.yieldNow()
      for (let i = 0; i < 5; i++) peer.send(Buffer.from(String(i)))
      for (let i = 0; i < 5; i++) send(`before ${i}`)
      yield* eventually(() => expected.length === 10)
      send("last")
      yield* Fiber.join(receiving)
      expect(received).toEqual(expected)
    }))

  it.scopedLive("WebSocketTransport.fromSocket calls onText when a first or later message is text", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const events = yield* listen(yield* dialPlatform(url))
      const [peer] = yield* connected
      peer.send("first")
      peer.send("second")
      peer.send(Buffer.from("binary"))
      yield* events.next
      expect(events.told).toEqual(["text", "text", "message"])
    }))

  for (const [code, told] of [[1000, 1006], [1008, 1008], [4321, 4321]] as const) {
    it.scopedLive(`WebSocketTransport.fromSocket ends with ${told} when ${code} comes before any message`, () =>
      Effect.gen(function*() {
        const { connected, url } = yield* makePeer
        const events = yield* listen(yield* dialPlatform(url))
        const [peer] = yield* connected
        peer.close(code, "enough")
        expect(yield* events.ended).toEqual({ code: told, reason: told === 1006 ? "" : "enough" })
        expect(events.told).toEqual(["close"])
      }))
  }

  it.scopedLive("WebSocketTransport.fromSocket ends with 1006 when TCP is lost before any message", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const transport = yield* dialPlatform(url)
      const events = yield* listen(transport)
      const [, request] = yield* connected
      request.socket.destroy()
      expect((yield* events.ended).code).toBe(1006)
      expect(transport.pollWritable()).toBe(false)
      expect(events.told).toEqual(["close"])
    }))

  it.scopedLive("WebSocketTransport.fromSocket names binaryType when its WebSocket delivers Blobs", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const events = yield* listen(yield* dialStandard(url, "blob"))
      const [peer] = yield* connected
      peer.send(Buffer.from("hello"))
      const end = yield* events.ended
      expect(end.code).toBe(1006)
      expect(String((end.cause as { readonly cause?: unknown }).cause)).toContain(
        "set its binaryType to \"arraybuffer\""
      )
    }))

  it.scoped("Session lives with a silent peer when its WebSocket cannot ping", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const transport = yield* dialStandard(url, "arraybuffer")
      const session = yield* Effect.provideService(Session.makeClient(), Transport, transport)
      const [peer] = yield* connected
      const opening = yield* Effect.fork(session.open())
      const [syn] = yield* signal<[Buffer]>(peer, "message")
      peer.send(Buffer.from([2, ...syn.subarray(1), 0, 4, 0, 0]))
      yield* Fiber.join(opening)
      yield* TestClock.adjust("1 minute")
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scopedLive("WebSocketTransport.fromSocket ends with code 1009 when the first message is too large", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const events = yield* listen(yield* dialStandard(url, "arraybuffer"))
      const [peer] = yield* connected
      const closed = signal<[number]>(peer, "close")
      peer.send(Buffer.alloc(5_000_000))
      expect(yield* events.ended).toEqual({
        code: 1009,
        reason: "message too big",
        cause: new RangeError("message too big")
      })
      yield* closed
    }))
})

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
