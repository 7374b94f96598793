import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { Transport } from "effect-wsmux/Transport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { WebSocket } from "ws"
import { bytes, text } from "../../../../support/bytes.js"
import {
  acceptWsServer,
  eventually,
  firstOf,
  listening,
  portOf,
  rawClient,
  signal,
  upgradeHeaders,
  urlOf,
  webSocketServer
} from "../../../../support/transports.js"
import { listen } from "../../../../support/transportSuite.js"
import { encodeFrame } from "../../../../support/webSocketFrames.js"

const fixture = (name: string) => readFileSync(new URL(`../../../../fixtures/tls/${name}`, import.meta.url))
const [cert, key] = [fixture("cert.pem"), fixture("key.pem")]

/** A frame of a client. */
const frame = (opcode: number, payload: Uint8Array, fin = true) =>
  encodeFrame({ opcode, payload, fin, key: Buffer.alloc(4) })

/** Fails the test after 10 s, and names the event that it awaited. */
const within = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutFail(effect, { duration: "10 seconds", onTimeout: () => new Error(`${what}: not within 10 s`) })

/**
 * A server that accepts every upgrade, records the bytes that it reads, and answers no close frame. Like a Go wsmux
 * peer, it ends TCP when it has read the end of TCP.
 */
const goLikeServer = (tls: boolean) =>
  Effect.gen(function*() {
    const received: Array<Buffer> = []
    const onConnection = (socket: Net.Socket) => {
      socket.on("error", () => {}).once("data", (request: Buffer) => {
        const [, asked] = /sec-websocket-key: (.*)\r\n/i.exec(request.toString())!
        const accept = createHash("sha1").update(`${asked}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
            `sec-websocket-accept: ${accept}\r\n\r\n`
        )
        socket.on("data", (data: Buffer) => received.push(data)).on("end", () => socket.end())
      })
    }
    const server = yield* listening(
      tls
        ? Tls.createServer({ cert, key, allowHalfOpen: true }, onConnection)
        : Net.createServer({ allowHalfOpen: true }, onConnection)
    )
    return { received, url: `${tls ? "wss" : "ws"}://127.0.0.1:${portOf(server)}/` }
  })

/** The events of every WebSocket of this file, by local and remote TCP port. */
const emitted = new Map<string, Array<unknown>>()
const { emit } = WebSocket.prototype
WebSocket.prototype.emit = function(this: WebSocket, event: string | symbol, ...args: Array<unknown>): boolean {
  const { _socket: socket } = this as unknown as { readonly _socket?: Net.Socket | null }
  const ends = `${socket?.localPort} ${socket?.remotePort}`
  emitted.set(ends, [...emitted.get(ends) ?? [], event])
  return emit.call(this, event, ...args)
}

/** The events of the WebSocket of a transport. */
const emittedAt = ({ localAddress, remoteAddress }: Transport) => {
  const [local, remote] = [localAddress, remoteAddress].map((address) => "port" in address ? address.port : undefined)
  return emitted.get(`${local} ${remote}`) ?? []
}

const closeFrameOf = (code: number, reason: string) =>
  Buffer.concat([Buffer.from([code >> 8, code & 255]), bytes(reason)])

describe("NodeTransport.close", () => {
  for (const tls of [false, true]) {
    it.scopedLive(`NodeTransport.close completes when the peer only ends TCP, ${tls ? "with" : "without"} TLS`, () =>
      Effect.gen(function*() {
        const { received, url } = yield* goLikeServer(tls)
        const transport = yield* NodeTransport.connect(url, { tls: { ca: cert, servername: "localhost" } })
        const events = yield* listen(transport)
        const queued = new Uint8Array(1_000_000)
        for (let i = 0; i < 8; i++) transport.send([queued])
        yield* within("the close", transport.close(4321, "enough", Duration.infinity))
        expect(events.told).toEqual(["close"])
        const all = Buffer.concat(received)
        expect(all.byteLength).toBe(8 * (queued.byteLength + 14) + 6 + 2 + 6)
        expect(all[8 * (queued.byteLength + 14)]).toBe(0x88)
      }))

    it.scopedLive(`NodeTransport.close sends queued messages when it closes ${tls ? "with" : "without"} TLS`, () =>
      Effect.gen(function*() {
        const server = yield* NodeTransportServer.make(tls ? { tls: { cert, key } } : {})
        const accepted = yield* firstOf(server)
        const url = tls ? urlOf(server).replace("ws:", "wss:") : urlOf(server)
        const client = yield* NodeTransport.connect(url, { tls: { ca: cert, servername: "localhost" } })
        for (const [near, far] of [[client, yield* accepted] as const]) {
          const [atNear, atFar] = [yield* listen(near), yield* listen(far)]
          for (let i = 0; i < 8; i++) near.send([new Uint8Array(1_000_000)])
          yield* within("the close", near.close(4321, "enough", Duration.infinity))
          expect(yield* atFar.ended).toEqual({ code: 4321, reason: "enough" })
          expect(yield* atNear.ended).toEqual({ code: 4321, reason: "enough" })
          expect(atFar.told).toEqual([...Array.from({ length: 8 }, () => "message"), "close"])
        }
      }))
  }

  it.scopedLive("NodeTransport receives a message under way before the peer's close frame when it closes", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      const { answer, socket } = yield* rawClient(url, undefined, { allowHalfOpen: true })
      yield* answer
      const transport = yield* accepted
      const events = yield* listen(transport)
      const [asked, ended] = [signal(socket, "data"), signal(socket, "end")]
      const closing = yield* Effect.fork(transport.close(4321, "", Duration.infinity))
      yield* Effect.all([asked, ended])
      socket.end(Buffer.concat([frame(0x2, bytes("under way")), frame(0x8, closeFrameOf(4001, "answered"))]))
      yield* within("the close", closing.await)
      expect(text(yield* events.next)).toBe("under way")
      expect(yield* events.ended).toEqual({ code: 4001, reason: "answered" })
    }))
})

describe("Session", () => {
  const limit = 65_541
  const faults: Readonly<Record<string, readonly [sent: Buffer, cause: object]>> = {
    "sends too large a message": [frame(0x2, new Uint8Array(limit + 1)), new RangeError("message too big")],
    "sends too many fragments": [
      Buffer.concat(Array.from({ length: 200 }, (_, i) => frame(i === 0 ? 0x2 : 0x0, bytes("x"), false))),
      new Error("too many fragments")
    ],
    "interrupts a message": [
      Buffer.concat([frame(0x2, bytes("x"), false), frame(0x2, bytes("y"))]),
      new Error("a message was interrupted by another")
    ],
    "sends a malformed frame": [frame(0xb, bytes("x")), { code: "WS_ERR_INVALID_OPCODE" }]
  }
  for (const [what, [sent, cause]] of Object.entries(faults)) {
    it.scopedLive(`Session ends with the cause within closeTimeout when its peer ${what}`, () =>
      Effect.gen(function*() {
        const settings = { maxPeerWindow: limit - 5, closeTimeout: "20 millis", keepAliveInterval: "1 hour" } as const
        const { accepted, url } = yield* acceptWsServer({ maxMessageSize: limit })
        const { answer, socket } = yield* rawClient(url, undefined, { allowHalfOpen: true })
        yield* answer
        const session = yield* Effect.provideService(Session.makeServer(settings), Transport, yield* accepted)
        socket.resume().write(sent)
        expect(yield* within("the end", session.awaitClosed)).toMatchObject({ _tag: "TransportFailure", cause })
      }))
  }
})

describe("NodeTransport.fromWebSocket", () => {
  it.scopedLive("NodeTransport takes no share of SharedLimits when its WebSocket is closed already", () =>
    Effect.gen(function*() {
      const { partialMessages } = yield* SharedLimits.SharedLimits
      const { url, webSockets } = yield* webSocketServer
      const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      const { answer, socket } = yield* rawClient(url)
      const [ws, request] = yield* connected
      yield* answer
      const closed = signal(ws, "close")
      socket.destroy()
      yield* within("the close", closed)
      yield* NodeTransport.fromWebSocket(ws, request)
      expect(partialMessages.holders).toBe(0)
    }).pipe(Effect.provide(SharedLimits.layer())))
})

describe("NodeTransport", () => {
  it.scopedLive("NodeTransport on the slow path delivers messages in order when pings split their fragments", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      webSockets.options.allowSynchronousEvents = false
      const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      const { answer, socket } = yield* rawClient(url)
      const [ws, request] = yield* connected
      yield* answer
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request))
      const fragmented = (name: string) => [
        frame(0x2, bytes(`${name}: `), false),
        frame(0x9, bytes("a")),
        frame(0x9, bytes("b")),
        frame(0x0, bytes("in "), false),
        frame(0xa, bytes("c")),
        frame(0x0, bytes("parts"))
      ]
      socket.write(Buffer.concat([...fragmented("one"), frame(0x2, bytes("two")), ...fragmented("three")]))
      const messages = yield* within("three messages", events.take(3))
      expect(messages.map(text)).toEqual(["one: in parts", "two", "three: in parts"])
      socket.write(frame(0x8, closeFrameOf(4001, "")))
      expect(yield* events.ended).toEqual({ code: 4001, reason: "" })
    }))

  it.scopedLive("NodeTransport on the slow path refuses a message when its header exceeds the limit", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      webSockets.options.allowSynchronousEvents = false
      const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      const { answer, closed, socket } = yield* rawClient(url)
      const [ws, request] = yield* connected
      yield* answer
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request, { maxMessageSize: 1000 }))
      socket.write(frame(0x2, new Uint8Array(1001)).subarray(0, 100)) // The header alone exceeds the limit.
      expect(yield* events.ended).toMatchObject({ code: 1006, cause: expect.any(RangeError) })
      yield* closed
    }))
})

describe("NodeTransport", () => {
  const slowPathOf = (transport: Transport): string | undefined => {
    expect("slowPath" in transport).toBe(true)
    return (transport as unknown as { readonly slowPath: string | undefined }).slowPath
  }

  const connectTls = Effect.gen(function*() {
    const server = yield* NodeTransportServer.make({ tls: { cert, key } })
    const accepted = yield* firstOf(server)
    const url = urlOf(server).replace("ws:", "wss:")
    const dialled = yield* NodeTransport.connect(url, { tls: { ca: cert, servername: "localhost" } })
    return { dialled, accepted: yield* accepted }
  })

  it.scopedLive("NodeTransport takes the fast path when it has dialled", () =>
    Effect.gen(function*() {
      const { url } = yield* acceptWsServer()
      expect(slowPathOf(yield* NodeTransport.connect(url))).toBe(undefined)
    }))

  it.scopedLive("NodeTransport takes the fast path when NodeTransportServer has accepted it", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      yield* NodeTransport.connect(url)
      expect(slowPathOf(yield* accepted)).toBe(undefined)
    }))

  it.scopedLive("NodeTransport takes the fast path when it has dialled with TLS", () =>
    Effect.gen(function*() {
      expect(slowPathOf((yield* connectTls).dialled)).toBe(undefined)
    }))

  it.scopedLive("NodeTransport takes the fast path when NodeTransportServer has accepted it with TLS", () =>
    Effect.gen(function*() {
      expect(slowPathOf((yield* connectTls).accepted)).toBe(undefined)
    }))

  for (const end of ["dialled", "accepted"] as const) {
    it.scopedLive(`NodeTransport delivers a message without an event of ws when it was ${end}`, () =>
      Effect.gen(function*() {
        const { accepted, url } = yield* acceptWsServer()
        const dialled = yield* NodeTransport.connect(url)
        const [near, far] = end === "dialled" ? [dialled, yield* accepted] : [yield* accepted, dialled]
        const events = yield* listen(near)
        far.send([bytes("hello")])
        expect(text(yield* within("the message", events.next))).toBe("hello")
        far.ping?.()
        yield* within("the ping", eventually(() => emittedAt(near).includes("ping")))
        expect(emittedAt(near)).not.toContain("message")
      }))
  }

  it.scopedLive("NodeTransport logs the reason at debug level when it takes the slow path", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      webSockets.options.allowSynchronousEvents = false
      const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      yield* rawClient(url)
      const [ws, request] = yield* connected
      const logged: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel.label} ${String(message)}`))
      yield* NodeTransport.fromWebSocket(ws, request).pipe(
        Effect.provide(Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All)))
      )
      expect(logged).toEqual([
        "DEBUG messages take the slow path: the parser of this version of ws is unknown, " +
        "or it was made with allowSynchronousEvents: false"
      ])
    }))

  it.scopedLive("NodeTransport takes the slow path when its WebSocket has an extension or other readers", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const accept = (prepare: (request: IncomingMessage) => void, compressed = false) =>
        Effect.gen(function*() {
          webSockets.options.perMessageDeflate = compressed
          const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
          yield* rawClient(url, [...upgradeHeaders, "sec-websocket-extensions: permessage-deflate"])
          const [ws, request] = yield* connected
          prepare(request)
          return slowPathOf(yield* NodeTransport.fromWebSocket(ws, request))
        })
      expect(yield* accept(() => {})).toBe(undefined)
      expect(yield* accept(({ socket }) => void socket.on("data", () => {}))).toContain("other readers")
      expect(yield* accept(() => {}, true)).toContain("permessage-deflate")
    }))
})

describe("NodeTransport", () => {
  it.scopedLive("NodeTransport reads a flood and its close frame when TLS ends right behind them", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ tls: { cert, key } })
      const accepted = yield* firstOf(server)
      const port = Number(new URL(urlOf(server)).port)
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => Tls.connect({ host: "127.0.0.1", port, ca: cert, servername: "localhost" })),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const answered = signal(socket.on("error", () => {}), "data")
      socket.write(["GET / HTTP/1.1", "host: localhost", ...upgradeHeaders, "", ""].join("\r\n"))
      yield* within("the upgrade", answered)
      const events = yield* listen(yield* accepted)
      const count = 3000
      const flood = Array.from({ length: count }, () => frame(0x2, bytes("x")))
      socket.end(Buffer.concat([...flood, frame(0x8, closeFrameOf(4001, "done"))]))
      expect(yield* within("the end", events.ended)).toEqual({ code: 4001, reason: "done" })
      expect(events.told).toHaveLength(count + 1)
    }))

  it.scopedLive("NodeTransport reads a flood and its close frame when TCP is reset right behind them", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      const { answer, socket } = yield* rawClient(url)
      yield* answer
      const events = yield* listen(yield* accepted)
      const count = 5000
      const flood = Array.from({ length: count }, () => frame(0x2, bytes("x")))
      socket.write(Buffer.concat([...flood, frame(0x8, closeFrameOf(4001, "done"))]))
      expect(yield* within("the end", events.ended)).toEqual({ code: 4001, reason: "done" })
      yield* eventually(() => events.told.length > count)
      expect(events.told).toHaveLength(count + 1)
    }))
})
