import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import { TransportFailure, UnexpectedText } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as Net from "node:net"
import type { WebSocket } from "ws"
import { bytes, pattern, text } from "../support/bytes.js"
import { readAll, readSome } from "../support/sessions.js"
import {
  type Acceptor,
  acceptPlatform,
  acceptWebSocket,
  acceptWsServer,
  type AcquireEnds,
  type Dialler,
  dialPlatform,
  dialStandard,
  dialWs,
  dialWsConstructor,
  eventually,
  joined,
  memory,
  signal,
  tcpServer,
  urlOf,
  webSocket,
  webSocketServer,
  wired
} from "../support/transports.js"
import { withParts } from "../support/withParts.js"

const make = (role: "client" | "server", transport: Transport, options?: SessionConfig.PartialSettings) =>
  Effect.provideService(
    role === "client" ? Session.makeClient(options) : Session.makeServer(options),
    Transport,
    transport
  )

const makeSessions = (acquireEnds: AcquireEnds, options: SessionConfig.PartialSettings = {}) =>
  Effect.gen(function*() {
    const { client, server } = yield* acquireEnds()
    return { client: yield* make("client", client, options), server: yield* make("server", server, options) }
  })

const echo = (stream: MuxStream) => Stream.run(stream.readable, stream.writable)

/** Sends a payload and compares the echo with it. */
const roundTrip = (session: Session.Session, payload: Uint8Array) =>
  Effect.scoped(
    Effect.flatMap(session.open(), (stream) =>
      Effect.map(
        Effect.all([Effect.zipRight(stream.write(payload), stream.end), readAll(stream)], { concurrency: 2 }),
        ([, received]) => Buffer.compare(received, payload) === 0
      ))
  )

/** Dials through a TCP proxy, whose connections `kill` resets. */
const throughProxy = (dial: Dialler, url: string) =>
  Effect.gen(function*() {
    const links: Array<Net.Socket> = []
    const { port } = yield* tcpServer((near) => {
      const far = Net.connect(Number(new URL(url).port), "127.0.0.1").on("error", () => {})
      near.pipe(far).pipe(near)
      links.push(near, far)
    })
    const kill = Effect.sync(() => links.forEach((link) => link.resetAndDestroy()))
    yield* Effect.addFinalizer(() => kill)
    return { transport: yield* dial(`ws://127.0.0.1:${port}`), kill }
  })

for (const [name, acquireEnds] of Object.entries({ "an in-memory pair": memory, ...wired })) {
  describe(`Session over ${name}`, () => {
    it.scopedLive("Session carries 1 MiB there and back when ten streams do so at once", () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(acquireEnds, { streamBufferSize: 64 * 1024 })
        yield* Effect.forkScoped(server.run(echo))
        const payloads = Array.from({ length: 10 }, (_, i) => pattern(1024 * 1024, i + 1))
        const intact = yield* Effect.forEach(payloads, (payload) => roundTrip(client, payload), { concurrency: 10 })
        expect(intact).toEqual(payloads.map(() => true))
      }))

    for (const [closer, other] of [["client", "server"], ["server", "client"]] as const) {
      it.scopedLive(`Session tells the ${other} by code 1000 when the ${closer} closes`, () =>
        Effect.gen(function*() {
          const sessions = yield* makeSessions(acquireEnds)
          yield* Effect.forkScoped(sessions.server.run(echo))
          expect(yield* roundTrip(sessions.client, bytes("hello"))).toBe(true)
          yield* sessions[closer].close
          expect(yield* sessions[closer].awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "local", code: 1000 })
          expect(yield* sessions[other].awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1000 })
        }))
    }
  })
}

const diallers: ReadonlyArray<readonly [string, Dialler, number]> = [
  ["ws", dialWs, 1008],
  ["a WebSocket made by the package ws", dialWsConstructor, 1008],
  ["a standard WebSocket", dialStandard, 4008],
  ["a platform socket", dialPlatform, 1008]
]
const acceptors: ReadonlyArray<readonly [string, Acceptor]> = [
  ["a server of ws", acceptWsServer],
  ["a ws that was accepted elsewhere", acceptWebSocket],
  ["a route of a platform server", acceptPlatform]
]

describe("Session", () => {
  for (const [name, dial, code] of diallers) {
    it.scopedLive(`Session closes with ${code} when a text message comes to a client over ${name}`, () =>
      Effect.gen(function*() {
        const { url, webSockets } = yield* webSocketServer
        const connected = signal<[WebSocket]>(webSockets, "connection")
        const session = yield* make("client", yield* dial(url))
        const [peer] = yield* connected
        const closed = signal<[number, Buffer]>(peer, "close")
        peer.send("text")
        expect(yield* session.awaitClosed).toEqual(new UnexpectedText())
        const [told, reason] = yield* closed
        expect([told, reason.toString()]).toEqual([code, "unexpected text message: frames are binary"])
      }))
  }

  for (const [name, accept] of acceptors) {
    it.scopedLive(`Session closes with 1008 when a text message comes to ${name}`, () =>
      Effect.gen(function*() {
        const { accepted, url } = yield* accept()
        const peer = yield* webSocket(url)
        yield* signal(peer, "open")
        const session = yield* make("server", yield* accepted)
        const closed = signal<[number, Buffer]>(peer, "close")
        peer.send("text")
        expect(yield* session.awaitClosed).toEqual(new UnexpectedText())
        const [told, reason] = yield* closed
        expect([told, reason.toString()]).toEqual([1008, "unexpected text message: frames are binary"])
      }))
  }
})

describe("Session", () => {
  for (const [name, dial] of diallers) {
    for (const [far, accept] of acceptors) {
      it.scopedLive(`Session fails waiting operations when TCP is reset: ${name}, ${far}`, () =>
        Effect.gen(function*() {
          const { accepted, url } = yield* accept()
          const { kill, transport } = yield* throughProxy(dial, url)
          const client = yield* make("client", transport)
          const server = yield* make("server", yield* accepted)
          const [near, peer] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
          yield* peer.write(bytes("hello"))
          expect(text(yield* readSome(near))).toBe("hello")
          const operations: ReadonlyArray<Effect.Effect<unknown, unknown, Scope.Scope>> = [
            near.read,
            peer.read,
            near.write(pattern(5000)),
            client.accept,
            server.accept,
            client.open()
          ]
          const waiting = yield* Effect.forEach(operations, (operation) => Effect.fork(Effect.flip(operation)))
          // All operations wait when the writer's window is used up and the open is unacknowledged.
          yield* eventually(() => {
            const { streams, unacknowledgedOpens } = Effect.runSync(client.snapshot)
            return unacknowledgedOpens === 1 && streams.some(({ id, sendCredit }) => id === near.id && sendCredit === 0)
          })
          expect(waiting.map((fiber) => fiber.unsafePoll())).toEqual(waiting.map(() => null))
          yield* kill
          const lost = { _tag: "TransportFailure", code: 1006 }
          const broken = { _tag: "BrokenPipe", cause: expect.any(TransportFailure) }
          const failures = yield* Effect.forEach(waiting, Fiber.join)
          expect(failures).toMatchObject([broken, broken, broken, lost, lost, lost])
          expect(yield* client.awaitClosed).toMatchObject(lost)
          expect(yield* server.awaitClosed).toMatchObject(lost)
        }))
    }
  }
})

describe("Session", () => {
  const acceptors: ReadonlyArray<readonly [string, Acceptor]> = [
    ["ws", acceptWsServer],
    ["a route of a platform server", acceptPlatform]
  ]
  for (const [name, accept] of acceptors) {
    it.scopedLive(`Session opens streams when its client has sent nothing, over ${name}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(joined(dialWs, accept), { streamBufferSize: 64 * 1024 })
        yield* Effect.forkScoped(client.run(echo))
        const payloads = Array.from({ length: 10 }, (_, i) => pattern(200_000, i + 1))
        const intact = yield* Effect.forEach(payloads, (payload) => roundTrip(server, payload), { concurrency: 10 })
        expect(intact).toEqual(payloads.map(() => true))
      }))
  }

  it.scopedLive("Session closes with code 1000 when its handler in SessionServer returns", () =>
    Effect.gen(function*() {
      const transports = yield* NodeTransportServer.make()
      const server = yield* Effect.provideService(SessionServer.make(), TransportServer, transports)
      yield* Effect.forkScoped(server.run(() => Effect.void))
      const session = yield* make("client", yield* NodeTransport.connect(urlOf(transports)))
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1000 })
    }))
})

describe("Session", () => {
  /** A frame that sessions ignore. A platform transport learns its TCP socket from the first message. */
  const stray = Buffer.from([3, 9, 0, 0, 0])

  /**
   * Advances the clock by an interval only after the answer to the last ping, so that a pause of this process does not
   * count as silence.
   */
  const keepsUp = (role: "client" | "server", transport: Transport, peer: WebSocket) =>
    Effect.gen(function*() {
      peer.send(stray)
      yield* eventually(() => transport.remoteAddress._tag === "TcpAddress")
      let pings = 0
      let known = Number.NaN
      const ping = () => {
        pings++
        known = transport.receiveCount()
        transport.ping?.()
      }
      const session = yield* make(role, withParts(transport, { ping }))
      for (let tick = 1; tick <= 5; tick++) {
        yield* eventually(() => pings === tick && transport.receiveCount() !== known)
        yield* TestClock.adjust("10 seconds")
      }
      expect(yield* session.isClosed).toBe(false)
      yield* eventually(() => pings === 6 && transport.receiveCount() !== known)
      peer.pause()
      yield* TestClock.adjust("20 seconds")
      expect(yield* session.isClosed).toBe(true)
      yield* TestClock.adjust("2 seconds")
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "KeepAliveExpired", intervalMillis: 10_000 })
    })

  for (const [name, dial] of diallers.filter(([, dial]) => dial !== dialStandard)) {
    it.scoped(`Session lives while its peer only answers pings when a client uses ${name}`, () =>
      Effect.gen(function*() {
        const { url, webSockets } = yield* webSocketServer
        const connected = signal<[WebSocket]>(webSockets, "connection")
        const transport = yield* dial(url)
        const [peer] = yield* connected
        yield* keepsUp("client", transport, peer)
      }))
  }

  for (const [name, accept] of acceptors) {
    it.scoped(`Session lives while its peer only answers pings when a server uses ${name}`, () =>
      Effect.gen(function*() {
        const { accepted, url } = yield* accept()
        const peer = yield* webSocket(url)
        yield* signal(peer, "open")
        yield* keepsUp("server", yield* accepted, peer)
      }))
  }
})
