import { describe, expect, it } from "@effect/vitest"
import type * as Address from "effect-wsmux/Address"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"
import { bytes, pattern, text } from "../../support/bytes.js"
import { quiet, quietly } from "../../support/observe.js"
import { makeSessions, makeStreams, readAll, readSome, settle } from "../../support/sessions.js"
import { eventually, signal, standstill, wired } from "../../support/transports.js"

const socketOf = (stream: MuxStream, options?: NodeDuplex.Options) =>
  Effect.map(NodeDuplex.fromMuxStream(stream, options), (duplex) => duplex as Socket)

/** A pair of streams over a real WebSocket. */
const wiredStreams = Effect.gen(function*() {
  const ends = yield* wired["ws"]!()
  const client = yield* Effect.provideService(Session.makeClient(quiet), Transport, ends.client)
  const server = yield* Effect.provideService(Session.makeServer(quiet), Transport, ends.server)
  const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
  return { client, server, near, far }
})

describe("what programs ask of a net.Socket", () => {
  it.scopedLive("is told by a stream: the addresses of the WebSocket", () =>
    Effect.gen(function*() {
      const { client, near, server } = yield* wiredStreams
      const socket = yield* socketOf(near)
      const local = client.localAddress as Address.TcpAddress
      const remote = server.localAddress as Address.TcpAddress
      expect(socket).toMatchObject({
        localAddress: "127.0.0.1",
        localPort: local.port,
        localFamily: "IPv4",
        remoteAddress: "127.0.0.1",
        remotePort: remote.port,
        remoteFamily: "IPv4"
      })
      expect(socket.address()).toEqual({ address: "127.0.0.1", port: local.port, family: "IPv4" })
    }))

  it.scopedLive("is told by a stream: nothing of addresses where there are none", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(quietly())
      const socket = yield* socketOf(near)
      expect(socket.address()).toEqual({})
      expect([socket.localAddress, socket.remotePort]).toEqual([undefined, undefined])
    }))

  it.scopedLive("is done by a stream: settings of TCP change nothing, and can be chained", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      const socket = yield* socketOf(near)
      expect(socket.setNoDelay(true).setKeepAlive(true, 1000).ref().unref().setTimeout(0)).toBe(socket)
      const answer = signal<[Buffer]>(socket, "data")
      socket.write("hello")
      expect(String((yield* answer)[0])).toBe("hello")
    }))

  it.scopedLive("is done by a stream: it is connected once, and tells drivers that ask for it again", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      const connect = yield* NodeDuplex.connector(client)
      const socket = connect() as Socket
      expect([socket.connecting, socket.pending]).toEqual([true, true])
      const connected = signal(socket, "connect")
      const ready = signal(socket, "ready")
      yield* server.accept
      yield* Effect.all([connected, ready])
      expect([socket.connecting, socket.pending]).toEqual([false, false])
      const again = signal(socket, "connect")
      socket.connect(5432, "db.example")
      yield* again
      socket.destroy()
    }))

  it.scopedLive("is done by a stream: destroySoon writes what waits, and destroys it", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      const socket = yield* socketOf(near)
      const closed = signal(socket, "close")
      socket.write(pattern(10_000))
      socket.destroySoon()
      expect(yield* readAll(far)).toEqual(pattern(10_000))
      yield* closed
    }))

  it.scopedLive("is done by a stream: its timeout starts again whenever something comes or goes", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      const socket = yield* socketOf(near)
      let timeouts = 0
      socket.on("timeout", () => timeouts++)
      socket.resume()
      socket.setTimeout(2 ** 31 - 2)
      socket.setTimeout(2 ** 40) // longer than Node's timers go
      expect(socket.timeout).toBe(2 ** 31 - 1)
      yield* far.write(bytes("x"))
      yield* eventually(() => socket.bytesRead === 1)
      yield* Effect.sleep("5 millis")
      expect(timeouts).toBe(0)
      socket.setTimeout(5)
      yield* eventually(() => timeouts === 1)
      yield* far.write(bytes("x"))
      yield* eventually(() => timeouts === 2)
      for (const nonsense of [-1, NaN, Infinity]) expect(() => socket.setTimeout(nonsense)).toThrow(RangeError)
    }))
})

/** Waits until so many opens wait for an answer. */
const asking = (session: Session.Session, opens: number) =>
  Effect.repeat(Effect.delay(session.snapshot, 1), {
    until: ({ unacknowledgedOpens }) => unacknowledgedOpens === opens
  })

describe("a connection over a session", () => {
  const ways: Readonly<Record<string, (session: Session.Session) => Effect.Effect<Duplex, unknown>>> = {
    "NodeDuplex.connector": (session) => Effect.map(NodeDuplex.connector(session), (connect) => connect()),
    "NodeDuplex.open": NodeDuplex.open
  }
  for (const [name, dial] of Object.entries(ways)) {
    it.scopedLive(`${name} makes a Duplex that closes when its peer ends, as net.connect does`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        const [duplex, far] = yield* Effect.all([dial(client), server.accept], { concurrency: 2 })
        const closed = signal(duplex.resume(), "close")
        yield* far.end
        yield* closed
        expect(text(yield* readAll(far))).toBe("")
      }))

    it.scopedLive(`${name} writes what waits when its peer ends first`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        const [duplex, far] = yield* Effect.all([dial(client), server.accept], { concurrency: 2 })
        const closed = signal(duplex.resume(), "close")
        duplex.write(pattern(20_000))
        yield* far.end
        expect(yield* readAll(far)).toEqual(pattern(20_000))
        yield* closed
      }))
  }

  it.scopedLive("a Duplex that was destroyed tells a driver that connects it nothing more", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(quietly())
      const socket = yield* socketOf(near)
      const told: Array<string> = []
      socket.on("connect", () => told.push("connect"))
      const closed = signal(socket, "close")
      socket.destroy()
      socket.connect(5432, "db.example")
      yield* closed
      yield* standstill(() => told.length)
      expect(told).toEqual([])
    }))
})

describe("a Duplex that is destroyed", () => {
  it.scopedLive("takes nothing more from its stream, and gives it nothing more", () =>
    Effect.gen(function*() {
      const { client, far, near } = yield* makeStreams(quietly())
      const socket = yield* socketOf(near)
      socket.resume()
      socket.write(pattern(5000), () => {})
      yield* Effect.repeat(Effect.delay(client.snapshot, 1), { until: ({ streams }) => streams[0]!.sendCredit === 0 })
      const closed = signal(socket, "close")
      socket.destroy()
      yield* closed
      yield* far.write(bytes("for somebody else"))
      expect(text(yield* readSome(near))).toBe("for somebody else")
      yield* near.end
      expect(yield* readAll(far)).toEqual(pattern(5000).subarray(0, 1024))
    }))
})

describe("a Duplex whose stream nobody accepts yet", () => {
  it.scopedLive("is closed at once when it is destroyed, and gives its stream up", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(quietly())
      const connect = yield* NodeDuplex.connector(client)
      for (const [i, error] of [undefined, new Error("enough")].entries()) {
        const duplex = connect()
        const told: Array<unknown> = []
        duplex.on("error", (error) => told.push(error)).on("connect", () => told.push("connected"))
        duplex.write("never", (error) => told.push(error instanceof Error))
        yield* asking(client, i + 1)
        const closed = signal(duplex, "close")
        duplex.destroy(error)
        yield* closed
        expect(told.filter((item) => item !== true)).toEqual(error === undefined ? [] : [error])
      }
      const { counters, streams } = yield* client.snapshot
      expect([streams.map(({ state }) => state), counters.bytesOut]).toEqual([["Cancelling", "Cancelling"], 0])
    }))

  it.scopedLive("does not even ask for one when it is destroyed in the turn in which it was made", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(quietly())
      const duplex = (yield* NodeDuplex.connector(client))()
      const closed = signal(duplex, "close")
      duplex.destroy()
      yield* closed
      expect((yield* client.snapshot).counters.framesOut.syn).toBe(0)
    }))

  it.scopedLive("waits for no session that comes back when it is destroyed", () =>
    Effect.gen(function*() {
      const session = yield* ReconnectingSession.make({ transport: Effect.never })
      const duplex = (yield* NodeDuplex.connector(session))()
      yield* settle
      const closed = signal(duplex, "close")
      duplex.destroy()
      yield* closed
    }))

  it.scopedLive("lets an http request go that is given up, and the agent with its scope", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(quietly())
      const errors: Array<string> = []
      const closed = yield* Effect.scoped(Effect.gen(function*() {
        const agent = yield* NodeDuplex.agent(client)
        const get = () =>
          Http.get({ host: "inside", agent }).on("error", (error: NodeJS.ErrnoException) => errors.push(error.code!))
        const [given, left] = [get(), get()]
        const ends = [signal(given, "close"), signal(left, "close")]
        yield* asking(client, 2)
        given.destroy()
        yield* ends[0]!
        expect(Object.values(agent.sockets).flat()).toHaveLength(1)
        return ends[1]!
      }))
      yield* closed
      expect(errors).toEqual(["ECONNRESET", "ECONNRESET"])
    }))
})

describe("TLS within a stream", () => {
  const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
  const makeTls = Effect.gen(function*() {
    const sessions = yield* makeSessions(quietly())
    const [near, far] = yield* Effect.all([
      NodeDuplex.open(sessions.client, { allowHalfOpen: false }),
      Effect.flatMap(sessions.server.accept, (stream) => socketOf(stream, { allowHalfOpen: false }))
    ], { concurrency: 2 })
    const secureContext = Tls.createSecureContext({ cert: fixture("cert.pem"), key: fixture("key.pem") })
    const server = new Tls.TLSSocket(far, { isServer: true, secureContext })
    const client = Tls.connect({ socket: near as Socket, rejectUnauthorized: false })
    yield* signal(client, "secureConnect")
    return { ...sessions, far, near, secure: [client.resume(), server.resume()] as const }
  })

  it.scopedLive("fails when the session is lost, with the error of the stream as the cause, and has no end then", () =>
    Effect.gen(function*() {
      const { pair, secure: [client, server] } = yield* makeTls
      const told: Array<string> = []
      for (const socket of [client, server]) socket.on("end", () => told.push("end"))
      const error = signal<[Error]>(client, "error")
      const closes = [client, server].map((socket) => signal(socket, "close")) // Node tells a server no more than that
      yield* pair.cut
      expect((yield* error)[0]).toMatchObject({ code: "ECONNRESET", cause: { _tag: "BrokenPipe" } })
      yield* Effect.all(closes)
      expect(told).toEqual([])
    }))

  it.scopedLive("is closed at both ends when one destroys it, and nothing is left of its stream", () =>
    Effect.gen(function*() {
      const { client, far, near, secure } = yield* makeTls
      const closes = [...secure, near, far].map((socket) => signal(socket, "close"))
      secure[1].on("error", () => {}) // TLS tells an end from a truncation
      secure[0].destroy()
      yield* Effect.all(closes)
      yield* Effect.repeat(Effect.delay(client.snapshot, 1), { until: ({ streams }) => streams.length === 0 })
    }))
})

describe("an http.Server over streams", () => {
  it.scopedLive("has its connections destroyed when serving is interrupted, and keeps no listener", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      const requests: Array<string> = []
      const http = Http.createServer((request) => requests.push(request.url!))
      const names = ["connection", "close", "error", "request"]
      const before = names.map((name) => http.listenerCount(name))
      const serving = yield* Effect.fork(NodeDuplex.serve(server, http))
      const stream = yield* client.open()
      yield* stream.write(bytes("GET /never HTTP/1.1\r\nhost: inside\r\n\r\n"))
      yield* eventually(() => requests.length === 1)
      yield* Fiber.interrupt(serving)
      expect(text(yield* readAll(stream))).toBe("")
      expect(names.map((name) => http.listenerCount(name))).toEqual(before)
      expect(yield* server.isClosed).toBe(false)
    }))
})
