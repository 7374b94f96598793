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
  dialPlatform,
  eventually,
  portOf,
  signal,
  standardConstructor,
  tcpServer,
  webSocketServer,
  wired
} from "../../../support/transports.js"
import { listen, transportSuite } from "../../../support/transportSuite.js"

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
      const session = yield* Effect.provideService(Session.makeClient({ dialect: "off" }), Transport, transport)
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
