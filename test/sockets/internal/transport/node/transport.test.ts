import { describe, expect, it, vi } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Session from "effect-wsmux/Session"
import { type CloseInfo, Transport } from "effect-wsmux/Transport"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import { SessionClosed } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import { type AddressInfo, Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { bytes, text } from "../../../../support/bytes.js"
import {
  acceptWebSocket,
  acceptWsServer,
  detachable,
  eventually,
  rawClient,
  signal,
  webSocket,
  webSocketServer,
  wired
} from "../../../../support/transports.js"
import { listen, transportSuite } from "../../../../support/transportSuite.js"
import { patience, within } from "../../../../support/within.js"

transportSuite("ws", wired["ws"]!)
transportSuite("ws, accepted elsewhere", wired["ws, accepted elsewhere"]!)

/** An accepted transport, and the TCP client of its WebSocket. */
const makeRaw = Effect.gen(function*() {
  const { accepted, url } = yield* acceptWsServer()
  const raw = yield* rawClient(url)
  expect(yield* raw.answer).toBe("HTTP/1.1 101 Switching Protocols")
  const transport = yield* accepted
  return { ...raw, transport, events: yield* listen(transport) }
})

/** A `WebSocket` that a `WebSocketServer` has accepted, its request, and its client. */
const acceptedElsewhere = (prepare: (webSockets: WebSocketServer) => void = () => {}) =>
  Effect.gen(function*() {
    const { url, webSockets } = yield* webSocketServer
    prepare(webSockets)
    const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
    const client = yield* webSocket(url)
    const opened = signal(client, "open")
    const [ws, request] = yield* connected
    yield* opened
    return { client, request, ws }
  })

/** A frame of a client, with a mask of zeros. `length` is the length in its header. */
const frame = (first: number, payload: string, length = payload.length) =>
  Buffer.concat([Buffer.from([first, 0x80 | length, 0, 0, 0, 0]), Buffer.from(payload, "latin1")])

const binary = 0x82

describe("NodeTransport", () => {
  it.scopedLive("NodeTransport raises receiveCount when a part of a message comes in", () =>
    Effect.gen(function*() {
      const { events, socket, transport } = yield* makeRaw
      const before = transport.receiveCount()
      socket.write(frame(binary, "a part", 100))
      yield* eventually(() => transport.receiveCount() !== before)
      expect(events.told).toEqual([])
    }))

  it.scopedLive("NodeTransport calls onText when a text message comes before a binary message", () =>
    Effect.gen(function*() {
      const { events, socket } = yield* makeRaw
      socket.write(Buffer.concat([frame(0x81, "text"), frame(binary, "binary")]))
      yield* events.next
      expect(events.told).toEqual(["text", "message"])
    }))

  it.scopedLive("NodeTransport delivers one message when it comes in three fragments", () =>
    Effect.gen(function*() {
      const { events, socket } = yield* makeRaw
      socket.write(Buffer.concat([frame(0x02, "in "), frame(0x00, "three "), frame(0x80, "parts")]))
      expect(Buffer.from(yield* events.next).toString()).toBe("in three parts")
      expect(events.told).toEqual(["message"])
    }))

  it.scopedLive("NodeTransport carries messages by ws when permessage-deflate was negotiated", () =>
    Effect.gen(function*() {
      const webSockets = yield* Effect.acquireRelease(
        Effect.sync(() => new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: { threshold: 0 } })),
        (server) => Effect.sync(() => server.close())
      )
      yield* signal(webSockets, "listening")
      const { port } = webSockets.address() as AddressInfo
      const connection = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      const client = yield* webSocket(`ws://127.0.0.1:${port}`)
      const [ws, request] = yield* connection
      expect(ws.extensions).toBe("permessage-deflate")
      const transport = yield* NodeTransport.fromWebSocket(ws, request)
      const events = yield* listen(transport)
      const message = signal<[Buffer]>(client, "message")
      transport.send([bytes("compressed "), bytes("by the package")])
      expect((yield* message)[0].toString()).toBe("compressed by the package")
      client.send(bytes("and back"))
      expect(Buffer.from(yield* events.next).toString()).toBe("and back")
    }))

  it.scopedLive("NodeTransport sends no message when a close frame came in the same packet", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      const { answer: upgraded, socket } = yield* rawClient(url)
      yield* upgraded
      const transport = yield* accepted
      const received: Array<Buffer> = []
      socket.on("data", (data: Buffer) => received.push(data))
      const ended = yield* Deferred.make<CloseInfo>()
      transport.listen({
        onMessage: () => transport.send([bytes("too late")]),
        onText: () => {},
        onWritable: () => {},
        onClose: (end) => Deferred.unsafeDone(ended, Effect.succeed(end))
      })
      socket.write(Buffer.concat([frame(binary, "last words"), frame(0x88, "")]))
      expect(yield* Deferred.await(ended).pipe(within(patience, "the end of the transport"))).toEqual({
        code: 1005,
        reason: ""
      })
      yield* eventually(() => received.length > 0)
      const answer = Buffer.concat(received)
      expect([answer[0], answer.includes("too late")]).toEqual([0x88, false])
    }))

  const endings: ReadonlyArray<readonly [string, (raw: Effect.Effect.Success<typeof makeRaw>) => void, object]> = [
    ["sends a close frame without a code", ({ socket }) => socket.write(frame(0x88, "")), { code: 1005, reason: "" }],
    ["ends TCP without a close frame", ({ socket }) => socket.end(), { code: 1006, reason: "" }],
    [
      "resets TCP",
      ({ socket }) => socket.resetAndDestroy(),
      { code: 1006, reason: "", cause: expect.objectContaining({ code: "ECONNRESET" }) }
    ],
    [
      "sends a malformed frame",
      ({ socket }) => socket.write(frame(0x8b, "")),
      { code: 1006, reason: "", cause: expect.objectContaining({ code: "WS_ERR_INVALID_OPCODE" }) }
    ]
  ]
  for (const [what, act, end] of endings) {
    it.scopedLive(`NodeTransport ends once with code and cause when the peer ${what}`, () =>
      Effect.gen(function*() {
        const raw = yield* makeRaw
        act(raw)
        expect(yield* raw.events.ended).toEqual(end)
        expect(raw.transport.pollWritable()).toBe(false)
        yield* raw.transport.close(1000, "", Duration.infinity)
        expect(raw.events.told).toEqual(["close"])
      }))
  }

  for (const act of ["end", "resetAndDestroy"] as const) {
    it.scopedLive(`NodeTransport ends by a close frame before TCP does when the peer calls ${act}`, () =>
      Effect.gen(function*() {
        const { accepted, url } = yield* acceptWsServer()
        const { answer, closed, socket } = yield* rawClient(url, undefined, { allowHalfOpen: true })
        yield* answer
        const transport = yield* accepted
        const events = yield* listen(transport)
        const reply = signal(socket, "data")
        socket.write(frame(0x88, "\x03\xf0no"))
        yield* reply
        expect(yield* events.ended).toEqual({ code: 1008, reason: "no" })
        const closing = yield* Effect.fork(transport.close(1000, "", Duration.infinity))
        socket[act]()
        yield* Fiber.join(closing)
        yield* closed
        expect(events.told).toEqual(["close"])
      }))
  }

  it.scopedLive("NodeTransport ends TCP when the peer sends a close frame and leaves TCP open", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      const { answer, socket } = yield* rawClient(url, undefined, { allowHalfOpen: true })
      yield* answer
      const session = yield* Effect.provideService(
        Session.makeServer({ closeTimeout: "20 millis" }),
        Transport,
        yield* accepted
      )
      const ended = signal(socket, "end")
      socket.write(frame(0x88, "\x03\xf0no"))
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1008, reason: "no" }))
      yield* ended
    }))

  it.scopedLive("NodeTransport.close terminates when the peer does not answer the close frame in time", () =>
    Effect.gen(function*() {
      const { closed, events, transport } = yield* makeRaw
      yield* transport.close(1000, "", "20 millis")
      yield* closed
      expect(yield* events.ended).toEqual({ code: 1006, reason: "" })
      expect(events.told).toEqual(["close"])
    }))

  it.scopedLive("NodeTransport.close terminates at once when it is interrupted", () =>
    Effect.gen(function*() {
      const { closed, events, socket, transport } = yield* makeRaw
      const closeFrame = signal(socket, "data")
      const closing = yield* Effect.fork(transport.close(1000, "", Duration.infinity))
      yield* closeFrame
      yield* Fiber.interrupt(closing)
      expect(events.told).toEqual(["close"])
      yield* closed
    }))

  it.scopedLive("NodeTransport terminates a peer that does not answer when its scope closes", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const acquired = Deferred.unsafeMake<readonly [Transport, Effect.Effect<void>]>(FiberId.none)
      const runtime = yield* Effect.runtime<Scope.Scope>()
      webSockets.on("connection", (ws, request) => {
        Effect.runFork(
          NodeTransport.fromWebSocket(ws, request).pipe(
            detachable,
            Effect.intoDeferred(acquired),
            Effect.provide(runtime)
          )
        )
      })
      const { closed } = yield* rawClient(url)
      const [transport, leave] = yield* Deferred.await(acquired).pipe(within(patience, "the accepted transport"))
      const events = yield* listen(transport)
      yield* leave
      yield* closed
      expect(events.told).toEqual(["close"])
    }))
})

describe("NodeTransport.ping", () => {
  it.scopedLive("NodeTransport.ping completes when its own pong or the pong of a later ping comes", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      webSockets.options.autoPong = false
      const connected = signal<[WebSocket, never]>(webSockets, "connection")
      const transport = yield* NodeTransport.connect(url)
      const [peer] = yield* connected
      const asked: Array<Buffer> = []
      peer.on("ping", (payload: Buffer) => asked.push(payload))
      const answered: Array<string> = []
      for (const name of ["first", "second", "third"]) transport.ping?.(() => answered.push(name))
      transport.ping?.()
      yield* eventually(() => asked.length === 4)
      peer.pong(asked[1])
      yield* eventually(() => answered.length === 2)
      peer.pong("unasked")
      peer.pong(asked[3])
      peer.pong(asked[2])
      yield* eventually(() => answered.length === 3)
      expect(answered).toEqual(["first", "second", "third"])
    }))
})

describe("NodeTransport", () => {
  it.scopedLive("NodeTransport answers a ping in one write with the messages of its turn", () =>
    Effect.gen(function*() {
      const { client, request: { socket }, request, ws } = yield* acceptedElsewhere()
      const transport = yield* NodeTransport.fromWebSocket(ws, request)
      const ignore = () => {}
      transport.listen({
        onMessage: (message) => transport.send([message]),
        onText: ignore,
        onWritable: ignore,
        onClose: ignore
      })
      const write = vi.spyOn(socket, "write")
      const [answered, echoed] = [signal(client, "pong"), signal(client, "message")]
      const peer = (client as unknown as { readonly _socket: Socket })._socket
      peer.cork()
      client.ping("1")
      client.send(bytes("a"))
      peer.uncork()
      expect((yield* answered)[0]).toEqual(Buffer.from("1"))
      yield* echoed
      expect(write).toHaveBeenCalledTimes(1)
    }))
})

describe("NodeTransport.fromWebSocket", () => {
  it.scopedLive("NodeTransport.fromWebSocket has the local address when it is given the request", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWebSocket()
      yield* webSocket(url)
      expect((yield* accepted).localAddress).toEqual({
        _tag: "TcpAddress",
        hostname: "127.0.0.1",
        port: Number(new URL(url).port)
      })
    }))

  it.scopedLive("NodeTransport.fromWebSocket has ended when its WebSocket is closed", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const connected = signal<[WebSocket, never]>(webSockets, "connection")
      yield* webSocket(url)
      const [ws, request] = yield* connected
      const closed = signal(ws, "close")
      ws.terminate()
      yield* closed
      expect(ws.readyState).toBe(WebSocket.CLOSED)
      const [transport, leave] = yield* detachable(NodeTransport.fromWebSocket(ws, request))
      const events = yield* listen(transport)
      expect(events.told).toEqual(["close"])
      yield* leave
    }))

  it.scopedLive("NodeTransport.fromWebSocket keeps the order of messages when its WebSocket was paused", () =>
    Effect.gen(function*() {
      const { client, request, ws } = yield* acceptedElsewhere()
      ws.pause()
      const { socket } = request
      const read = socket.bytesRead
      client.send(bytes("first"))
      yield* eventually(() => socket.bytesRead > read)
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      client.send(bytes("second"))
      yield* eventually(() => socket.bytesRead > read + 20)
      expect(events.told).toEqual([])
      ws.resume()
      expect((yield* events.take(2)).map(text)).toEqual(["first", "second"])
    }))

  it.scopedLive("NodeTransport.fromWebSocket leaves bytes to other listeners when the socket has them", () =>
    Effect.gen(function*() {
      const { client, request, ws } = yield* acceptedElsewhere()
      let heard = 0
      request.socket.on("data", (data: Buffer) => heard += data.byteLength)
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      client.send(bytes("hello"))
      expect(text(yield* events.next)).toBe("hello")
      expect(heard).toBe(6 + 5)
    }))

  it.scopedLive("NodeTransport.fromWebSocket sends 1009 when a message exceeds the maxPayload of ws", () =>
    Effect.gen(function*() {
      const { client, request, ws } = yield* acceptedElsewhere((webSockets) => {
        webSockets.options.maxPayload = 10
      })
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      const closed = signal<[number]>(client, "close")
      client.send(new Uint8Array(10))
      client.send(new Uint8Array(11))
      expect((yield* closed)[0]).toBe(1009)
      expect(yield* events.ended).toEqual({ code: 1006, reason: "", cause: expect.any(RangeError) })
      expect(events.told).toEqual(["message", "close"])
    }))

  it.scopedLive("NodeTransport.fromWebSocket dies when its WebSocket has a transport already", () =>
    Effect.gen(function*() {
      const { client, request, ws } = yield* acceptedElsewhere()
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      const second = yield* Effect.exit(NodeTransport.fromWebSocket(ws, request))
      expect(second).toEqual(Exit.die(new Error("cannot make a NodeTransport: the WebSocket has one already")))
      client.send(bytes("hello"))
      expect(text(yield* events.next)).toBe("hello")
    }))

  it.scopedLive("NodeTransport.fromWebSocket dies when this end has dialled the WebSocket", () =>
    Effect.gen(function*() {
      const { url } = yield* webSocketServer
      const ws = yield* webSocket(url)
      const dies = Exit.die(
        new Error(
          "NodeTransport.fromWebSocket: this end dialled the WebSocket, so use WebSocketTransport.fromWebSocket"
        )
      )
      const exit = Effect.suspend(() => Effect.exit(NodeTransport.fromWebSocket(ws, { socket: new Socket() })))
      expect(yield* exit).toEqual(dies)
      yield* signal(ws, "open")
      expect(yield* exit).toEqual(dies)
      expect((yield* WebSocketTransport.fromWebSocket(ws as never)).pollWritable()).toBe(true)
    }))

  it.scopedLive("NodeTransport.fromWebSocket delivers a message when ws has parsed its first bytes", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      const { answer, socket } = yield* rawClient(url)
      const [ws, request] = yield* connected
      yield* answer
      const read = request.socket.bytesRead
      const rest = frame(binary, "!") // The rest of the message has the bytes of a frame.
      socket.write(frame(binary, "in ", 3 + rest.byteLength))
      yield* eventually(() => request.socket.bytesRead > read)
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      socket.write(rest)
      expect(new Uint8Array(yield* events.next)).toEqual(new Uint8Array(Buffer.concat([Buffer.from("in "), rest])))
    }))

  it.scopedLive("NodeTransport.fromWebSocket delivers a message when binaryType is arraybuffer", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const connected = signal<[WebSocket, never]>(webSockets, "connection")
      yield* webSocket(url).pipe(Effect.map((ws) => ws.on("open", () => ws.send(Buffer.from("hello")))))
      const [ws, request] = yield* connected
      ws.binaryType = "arraybuffer"
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      expect(text(yield* events.next)).toBe("hello")
    }))
})
