import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { Transport } from "effect-wsmux/Transport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import * as Net from "node:net"
import * as Tls from "node:tls"
import type { WebSocket } from "ws"
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

/** Fails the test when something takes longer than any machine is busy. */
const within = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutFail(effect, { duration: "10 seconds", onTimeout: () => new Error(`${what}: not within 10 s`) })

/**
 * A server that upgrades whoever comes, keeps what it reads, answers no close frame, and leaves its direction of TCP open until
 * it has read the end of the other, as a Go wsmux peer does.
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

const closeFrameOf = (code: number, reason: string) =>
  Buffer.concat([Buffer.from([code >> 8, code & 255]), bytes(reason)])

describe("a transport over ws that closes", () => {
  for (const tls of [false, true]) {
    it.scopedLive(`takes no longer than the peer when that only ends TCP, ${tls ? "with" : "without"} TLS`, () =>
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

    it.scopedLive(`loses nothing that was queued, nor its code, ${tls ? "with" : "without"} TLS`, () =>
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

  it.scopedLive("hears of a close frame that answers its own behind what else was under way", () =>
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

describe("a session over ws with a peer at fault that leaves TCP open", () => {
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
    it.scopedLive(`ends with that cause in time when it ${what}`, () =>
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

describe("a transport of a ws that is closed", () => {
  it.scopedLive("NodeTransport takes no part of the shared limits when its socket is closed already", () =>
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

describe("a transport of a ws that tells of events in later turns", () => {
  it.scopedLive("delivers messages whole and in order when pings come between their fragments", () =>
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

  it.scopedLive("lets in no larger message than its own limit", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      webSockets.options.allowSynchronousEvents = false
      const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
      const { answer, closed, socket } = yield* rawClient(url)
      const [ws, request] = yield* connected
      yield* answer
      const events = yield* listen(yield* NodeTransport.fromWebSocket(ws, request, { maxMessageSize: 1000 }))
      socket.write(frame(0x2, new Uint8Array(1001)).subarray(0, 100)) // the header is enough
      expect(yield* events.ended).toMatchObject({ code: 1006, cause: expect.any(RangeError) })
      yield* closed
    }))
})

describe("the direct path of messages", () => {
  const slowPathOf = (transport: Transport) =>
    (transport as unknown as { readonly slowPath: string | undefined }).slowPath

  it.scopedLive("is in use at both ends that dial and listen", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      const ends = [yield* NodeTransport.connect(url), yield* accepted]
      expect(ends.map((end) => "slowPath" in end)).toEqual([true, true])
      expect(ends.map(slowPathOf)).toEqual([undefined, undefined])
    }))

  it.scopedLive("is in use by both ends with TLS", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ tls: { cert, key } })
      const accepted = yield* firstOf(server)
      const url = urlOf(server).replace("ws:", "wss:")
      const ends = [yield* NodeTransport.connect(url, { tls: { ca: cert, servername: "localhost" } }), yield* accepted]
      expect(ends.map(slowPathOf)).toEqual([undefined, undefined])
    }))

  it.scopedLive("is in use by a ws that was accepted elsewhere, unless that has an extension or other readers", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const accept = (prepare: (request: IncomingMessage) => void, compressed = false) =>
        Effect.gen(function*() {
          webSockets.options.perMessageDeflate = compressed
          const connected = signal<[WebSocket, IncomingMessage]>(webSockets, "connection")
          const headers = [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-extensions: permessage-deflate"
          ]
          yield* rawClient(url, headers)
          const [ws, request] = yield* connected
          prepare(request)
          return slowPathOf(yield* NodeTransport.fromWebSocket(ws, request))
        })
      expect(yield* accept(() => {})).toBe(undefined)
      expect(yield* accept(({ socket }) => void socket.on("data", () => {}))).toContain("other readers")
      expect(yield* accept(() => {}, true)).toContain("permessage-deflate")
    }))
})

describe("the memory that a flood leaves unread", () => {
  it.scopedLive("NodeTransport reads a flood and its close frame to the end when TLS ends right behind", () =>
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

  it.scopedLive("is read to its end when the peer resets TCP behind many small frames and a close frame", () =>
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
