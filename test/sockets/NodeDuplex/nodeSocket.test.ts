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
import { plainly, quiet } from "../../support/observe.js"
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

describe("NodeDuplex.fromMuxStream", () => {
  it.scopedLive("NodeDuplex.fromMuxStream has the addresses of the WebSocket", () =>
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

  it.scopedLive("NodeDuplex.fromMuxStream has no addresses when the transport has none", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(plainly())
      const socket = yield* socketOf(near)
      expect(socket.address()).toEqual({})
      expect([socket.localAddress, socket.remotePort]).toEqual([undefined, undefined])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream ignores settings of TCP, and returns itself", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      const socket = yield* socketOf(near)
      expect(socket.setNoDelay(true).setKeepAlive(true, 1000).ref().unref().setTimeout(0)).toBe(socket)
      const answer = signal<[Buffer]>(socket, "data")
      socket.write("hello")
      expect(String((yield* answer)[0])).toBe("hello")
    }))

  it.scopedLive("NodeDuplex.fromMuxStream emits connect again when a driver connects it", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
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

  it.scopedLive("NodeDuplex.fromMuxStream writes all bytes before it is destroyed by destroySoon", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const socket = yield* socketOf(near)
      const closed = signal(socket, "close")
      socket.write(pattern(10_000))
      socket.destroySoon()
      expect(yield* readAll(far)).toEqual(pattern(10_000))
      yield* closed
    }))

  it.scopedLive("NodeDuplex.fromMuxStream restarts its timeout at each read and write", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
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

/** Waits until this number of opens waits for an answer. */
const asking = (session: Session.Session, opens: number) =>
  Effect.repeat(Effect.delay(session.snapshot, 1), {
    until: ({ unacknowledgedOpens }) => unacknowledgedOpens === opens
  })

describe("NodeDuplex connections", () => {
  const ways: Readonly<Record<string, (session: Session.Session) => Effect.Effect<Duplex, unknown>>> = {
    "NodeDuplex.connector": (session) => Effect.map(NodeDuplex.connector(session), (connect) => connect()),
    "NodeDuplex.open": NodeDuplex.open
  }
  for (const [name, dial] of Object.entries(ways)) {
    it.scopedLive(`${name} makes a Duplex that closes when its peer ends, as net.connect does`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(plainly())
        const [duplex, far] = yield* Effect.all([dial(client), server.accept], { concurrency: 2 })
        const closed = signal(duplex.resume(), "close")
        yield* far.end
        yield* closed
        expect(text(yield* readAll(far))).toBe("")
      }))

    it.scopedLive(`${name} writes what waits when its peer ends first`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(plainly())
        const [duplex, far] = yield* Effect.all([dial(client), server.accept], { concurrency: 2 })
        const closed = signal(duplex.resume(), "close")
        duplex.write(pattern(20_000))
        yield* far.end
        expect(yield* readAll(far)).toEqual(pattern(20_000))
        yield* closed
      }))
  }

  it.scopedLive("NodeDuplex.fromMuxStream emits nothing when a driver connects it after destroy", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(plainly())
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

describe("NodeDuplex.fromMuxStream after destroy", () => {
  it.scopedLive("NodeDuplex.fromMuxStream reads and writes no more when it is destroyed", () =>
    Effect.gen(function*() {
      const { client, far, near } = yield* makeStreams(plainly())
      const socket = yield* socketOf(near)
      socket.resume()
      socket.write(pattern(5000), () => {})
      yield* Effect.repeat(Effect.delay(client.snapshot, 1), { until: ({ streams }) => streams[0]!.sendCredit === 0 })
      const closed = signal(socket, "close")
      socket.destroy()
      yield* closed
      yield* far.write(bytes("for the next reader"))
      expect(text(yield* readSome(near))).toBe("for the next reader")
      yield* near.end
      expect(yield* readAll(far)).toEqual(pattern(5000).subarray(0, 1024))
    }))
})

describe("NodeDuplex.connector", () => {
  it.scopedLive("NodeDuplex.connector and open allow no half-open duplex when allowHalfOpen is undefined", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      yield* Effect.forkScoped(server.run(() => Effect.never))
      const opened = yield* NodeDuplex.open(client, { allowHalfOpen: undefined })
      const connected = (yield* NodeDuplex.connector(client, { allowHalfOpen: undefined }))()
      expect([opened, connected].map(({ allowHalfOpen }) => allowHalfOpen)).toEqual([false, false])
      for (const duplex of [opened, connected]) duplex.destroy()
    }))

  it.scopedLive("NodeDuplex.connector closes at once when destroyed, and cancels the open", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(plainly())
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

  it.scopedLive("NodeDuplex.connector opens no stream when destroyed in the turn in which it was made", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(plainly())
      const duplex = (yield* NodeDuplex.connector(client))()
      const closed = signal(duplex, "close")
      duplex.destroy()
      yield* closed
      expect((yield* client.snapshot).counters.framesOut.syn).toBe(0)
    }))

  it.scopedLive("NodeDuplex.connector closes when destroyed while a ReconnectingSession connects", () =>
    Effect.gen(function*() {
      const session = yield* ReconnectingSession.make({ transport: Effect.never })
      const duplex = (yield* NodeDuplex.connector(session))()
      yield* settle
      const closed = signal(duplex, "close")
      duplex.destroy()
      yield* closed
    }))

  it.scopedLive("NodeDuplex.agent ends an aborted request, and the pending ones when its scope closes", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(plainly())
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

describe("node:tls", () => {
  const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
  const makeTls = Effect.gen(function*() {
    const sessions = yield* makeSessions(plainly())
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

  it.scopedLive("node:tls fails with the error of the stream when the session is lost, and emits no end", () =>
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

  it.scopedLive("node:tls closes at both ends when one end destroys it, and releases the stream", () =>
    Effect.gen(function*() {
      const { client, far, near, secure } = yield* makeTls
      const closes = [...secure, near, far].map((socket) => signal(socket, "close"))
      secure[1].on("error", () => {}) // TLS tells an end from a truncation
      secure[0].destroy()
      yield* Effect.all(closes)
      yield* Effect.repeat(Effect.delay(client.snapshot, 1), { until: ({ streams }) => streams.length === 0 })
    }))
})

describe("NodeDuplex.serve", () => {
  it.scopedLive("NodeDuplex.serve destroys its connections when interrupted, and removes its listeners", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
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
