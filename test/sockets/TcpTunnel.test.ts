import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import { type DuplexFailure, type OpenError, StreamRefused, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Net from "node:net"
import * as Tcp from "../e2e/cli/tcp.js"
import { bytes, pattern, text } from "../support/bytes.js"
import { countingFibers, plainly } from "../support/observe.js"
import * as Redialled from "../support/redialledServer.js"
import { makeSessions, type Options, readAll, readSome, settle } from "../support/sessions.js"
import { detachable, eventually, listening, portOf, standstill } from "../support/transports.js"
import { patience, within } from "../support/within.js"

type ServeOptions = Parameters<typeof TcpTunnel.serve>[1]
type ForwardOptions = NonNullable<Parameters<typeof TcpTunnel.forward>[2]>

/** Windows for tests that send megabytes. */
const wide = { client: { streamBufferSize: 262_144 }, server: { streamBufferSize: 262_144 } }

const dial = (port: number) => () => Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })

/** Serves a session. Each stream arrives at `port`. */
const serving = <E>(session: Session.Acceptor<E>, port: number, options: Partial<ServeOptions> = {}) =>
  Effect.forkScoped(TcpTunnel.serve(session, { connect: dial(port), ...options }))

/** Forwards connections to `port` through a session. `close` closes the scope of the tunnel. */
const forwarding = <E>(
  session: Session.Opener<E>,
  options: ForwardOptions = {} // the failures of an open are told by `onRefused`
) =>
  Effect.gen(function*() {
    const server = yield* listening(Net.createServer({ allowHalfOpen: true, noDelay: true }))
    const [listener, close] = yield* detachable(
      TcpTunnel.forward(session as Session.Opener<never>, server, options as TcpTunnel.Options)
    )
    return {
      port: portOf(server),
      awaitEmpty: within(patience, "the end of all connections")(listener.awaitEmpty),
      close
    }
  })

/** A whole tunnel over a session in memory: connections to `port` arrive at the target's port. */
const makeTunnel = (
  target: number,
  options: {
    readonly sessions?: Options
    readonly serve?: Partial<ServeOptions>
    readonly forward?: ForwardOptions
  } = {}
) =>
  Effect.gen(function*() {
    const sessions = yield* makeSessions(plainly(options.sessions))
    const served = yield* serving(sessions.server, target, options.serve)
    return { ...sessions, served, ...yield* forwarding(sessions.client, options.forward) }
  })

/** Records how joined connections ended: `success`, `interruption`, or the message of the failure. */
const recorder = () => {
  const ends: Array<string> = []
  const onJoined: TcpTunnel.Options["onJoined"] = () => (exit) =>
    ends.push(Exit.match(exit, {
      onSuccess: () => "success",
      onFailure: (cause) =>
        cause._tag === "Fail" ? cause.error.message : Cause.isInterruptedOnly(cause) ? "interruption" : cause._tag
    }))
  return { ends, onJoined: onJoined as NonNullable<typeof onJoined> }
}

const streamsOf = (session: Session.Session) => Effect.map(session.snapshot, ({ streams }) => streams.length)

/** Waits until a session has no stream. */
const empty = (session: Session.Session): Effect.Effect<void> =>
  Effect.repeat(Effect.zipLeft(streamsOf(session), Effect.sleep(1)), { until: (count) => count === 0 }).pipe(
    within(patience, "the end of all streams")
  )

const joinWithin = <A, E>(fiber: Fiber.Fiber<A, E>, what: string) => within(patience, what)(Fiber.join(fiber))

/** Connects to a port, and completes with the code of the error that ends the connection. */
const refusalOf = (port: number): Effect.Effect<string | undefined> =>
  Effect.async<string | undefined>((resume) => {
    const socket = dial(port)().on("error", ({ code }: NodeJS.ErrnoException) => resume(Effect.succeed(code)))
    return Effect.sync(() => socket.destroy())
  }).pipe(within(patience, "the reset of a connection"))

/** A port at which no program listens. */
const closedPort = Effect.scoped(Effect.map(listening(Net.createServer()), portOf))

describe("TcpTunnel", () => {
  it.scopedLive("TcpTunnel carries bytes both ways, each way to its own end", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { ends, onJoined } = recorder()
      const tunnel = yield* makeTunnel(target.port, { sessions: wide, serve: { onJoined }, forward: { onJoined } })
      const near = yield* Tcp.connect(tunnel.port)
      const [up, down] = [pattern(5_000_000), pattern(3_000_000, 2)]
      yield* Effect.fork(Effect.zipRight(near.write(up), near.end))
      const far = yield* target.accept
      const first = yield* far.over
      yield* Effect.fork(Effect.zipRight(far.write(down), far.end))
      const second = yield* near.over
      expect([first.how, Buffer.compare(first.bytes, up)]).toEqual(["end", 0])
      expect([second.how, Buffer.compare(second.bytes, down)]).toEqual(["end", 0])
      yield* tunnel.awaitEmpty
      yield* eventually(() => ends.length === 2)
      expect(ends).toEqual(["success", "success"])
    }))

  it.scopedLive("TcpTunnel delivers all bytes when both have ended before the first read", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const tunnel = yield* makeTunnel(target.port)
      const near = yield* Tcp.connect(tunnel.port)
      yield* near.end
      const far = yield* target.accept
      yield* far.over
      const sent = pattern(200_000)
      yield* far.write(sent)
      yield* far.end
      yield* tunnel.awaitEmpty
      const { bytes, how } = yield* near.over
      expect([how, Buffer.compare(bytes, sent)]).toEqual(["end", 0])
    }))

  it.scopedLive("TcpTunnel delivers all bytes and ends when 200 connections begin at once", () =>
    Effect.gen(function*() {
      const tunnel = yield* makeTunnel(yield* Tcp.echo)
      const outcomes = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => pattern(1000 + 50 * i, i + 1)),
        (sent) =>
          Effect.gen(function*() {
            const near = yield* Tcp.connect(tunnel.port)
            yield* near.write(sent)
            yield* near.end
            const { bytes, how } = yield* near.over
            return Buffer.compare(bytes, sent) === 0 ? how : "other bytes"
          }),
        { concurrency: "unbounded" }
      )
      expect(outcomes).toEqual(outcomes.map(() => "end"))
      yield* tunnel.awaitEmpty
      yield* empty(tunnel.server)
      const { counters } = yield* tunnel.server.snapshot
      expect([counters.accepted, counters.refused]).toEqual([200, 0])
    }))
})

describe("TcpTunnel.serve", () => {
  it.scopedLive("TcpTunnel.serve calls onUnreachable and ends the stream when its target refuses", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const failures: Array<DuplexFailure> = []
      yield* serving(server, yield* closedPort, { onUnreachable: (failure) => failures.push(failure) })
      for (let i = 0; i < 2; i++) {
        const near = yield* client.open()
        expect(yield* readAll(near)).toEqual(new Uint8Array(0))
      }
      expect(failures.map(({ cause }) => (cause as NodeJS.ErrnoException).code)).toEqual([
        "ECONNREFUSED",
        "ECONNREFUSED"
      ])
      expect(yield* streamsOf(server)).toBe(2) // until the openers end theirs
    }))

  it.scopedLive("TcpTunnel.serve delivers what had arrived and then fails when the session ends", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const sessions = yield* makeSessions(plainly(wide))
      const { ends, onJoined } = recorder()
      const served = yield* serving(sessions.server, target.port, { onJoined })
      const near = yield* sessions.client.open()
      const sent = pattern(4000) // less than the window
      yield* near.write(sent)
      yield* settle
      yield* sessions.pair.cut
      const far = yield* target.accept
      const { bytes } = yield* far.over // Node reports a reset as an end when bytes come together with the reset
      expect(Buffer.compare(bytes, sent)).toBe(0)
      expect(yield* Effect.flip(joinWithin(served, "the end of serve"))).toBeInstanceOf(TransportFailure)
      expect(ends).toEqual([expect.not.stringMatching(/^(success|interruption)$/)])
    }))

  it.scopedLive("TcpTunnel.serve resets connections and ends streams when it is interrupted", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { client, server } = yield* makeSessions(plainly())
      const { ends, onJoined } = recorder()
      const served = yield* serving(server, target.port, { onJoined })
      const near = yield* client.open()
      const far = yield* target.accept
      yield* near.write(bytes("hello"))
      yield* far.received(5)
      yield* Fiber.interrupt(served)
      expect(yield* readAll(near)).toEqual(new Uint8Array(0))
      expect((yield* far.over).how).toBe("ECONNRESET")
      expect(ends).toEqual(["interruption"])
      expect(yield* Effect.fork(client.open()).pipe(Effect.delay(0), Effect.map((fiber) => fiber.unsafePoll()))).toBe(
        null
      )
    }))

  it.scopedLive("TcpTunnel.serve resets a connection without a reader when interrupted after the end", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const sessions = yield* makeSessions(plainly(wide))
      let dialled: Net.Socket | undefined
      const served = yield* serving(sessions.server, target.port, {
        connect: () => dialled = dial(target.port)()
      })
      const near = yield* sessions.client.open()
      yield* Effect.fork(near.write(pattern(32 * 1024 * 1024))) // more than the kernel takes
      yield* target.accept
      yield* eventually(() => dialled!.writableLength > 0)
      yield* standstill(() => dialled!.bytesWritten)
      yield* sessions.pair.cut
      yield* standstill(() => dialled!.bytesWritten)
      expect([served.unsafePoll(), dialled!.destroyed]).toEqual([null, false])
      yield* within(patience, "the end of serve")(Fiber.interrupt(served))
      expect(dialled!.destroyed).toBe(true)
    }))

  it.scopedLive("TcpTunnel.serve gives onJoined's function the failure when the target resets", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { client, server } = yield* makeSessions(plainly())
      const { ends, onJoined } = recorder()
      yield* serving(server, target.port, { onJoined })
      const near = yield* client.open()
      const far = yield* target.accept
      yield* near.write(bytes("hello"))
      yield* far.received(5) // the two are joined
      yield* far.write("half of it")
      yield* far.reset
      expect(text(yield* readAll(near))).toBe("half of it")
      expect(ends).toEqual([expect.stringContaining("ECONNRESET")])
    }))

  it.scopedLive("TcpTunnel.serve frees the place of each stream when its connection ends or breaks", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const tunnel = yield* makeTunnel(target.port, { sessions: { server: { maxStreams: 1 } } })
      for (let i = 0; i < 6; i++) {
        const near = yield* Tcp.connect(tunnel.port)
        const far = yield* target.accept
        if (i % 3 === 0) yield* far.reset
        else yield* far.end
        if (i % 3 === 1) yield* near.reset
        else yield* near.end
        yield* tunnel.awaitEmpty
        yield* empty(tunnel.server)
        yield* empty(tunnel.client)
      }
      expect((yield* tunnel.server.snapshot).counters).toMatchObject({ accepted: 6, refused: 0 })
    }))

  it.scopedLive("TcpTunnel.serve joins a connection that is established already", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { client, server } = yield* makeSessions(plainly())
      const socket = dial(target.port)()
      yield* eventually(() => !socket.connecting)
      const { ends, onJoined } = recorder()
      const served = yield* serving(server, target.port, { connect: () => socket, onJoined })
      const near = yield* client.open()
      const far = yield* target.accept
      yield* near.write(bytes("hello"))
      expect(text(yield* far.received(5))).toBe("hello")
      yield* Fiber.interrupt(served)
      expect((yield* far.over).how).toBe("ECONNRESET")
      expect(ends).toEqual(["interruption"])
    }))
})

describe("TcpTunnel.forward", () => {
  it.scopedLive("TcpTunnel.forward calls onRefused and resets the connection when the peer refuses", () =>
    Effect.gen(function*() {
      const causes: Array<Cause.Cause<unknown>> = []
      const target = yield* Tcp.listen
      const tunnel = yield* makeTunnel(target.port, {
        sessions: { server: { maxStreams: 1 } },
        forward: { onRefused: (_, cause) => causes.push(cause) }
      })
      const first = yield* Tcp.connect(tunnel.port)
      const far = yield* target.accept
      expect(yield* refusalOf(tunnel.port)).toBe("ECONNRESET")
      expect(causes.map(Cause.squash)).toEqual([new StreamRefused({ streamId: 3 })])
      yield* first.write("still here")
      expect(text(yield* far.received(10))).toBe("still here")
    }))

  it.scopedLive("TcpTunnel.forward calls onRefused and resets the connection when the session has ended", () =>
    Effect.gen(function*() {
      const causes: Array<Cause.Cause<unknown>> = []
      const { client } = yield* makeSessions(plainly())
      const tunnel = yield* forwarding(client, { onRefused: (_, cause) => causes.push(cause) })
      yield* client.close
      expect(yield* refusalOf(tunnel.port)).toBe("ECONNRESET")
      expect(causes.map(Cause.squash)).toMatchObject([{ _tag: "SessionClosed", by: "local" }])
      yield* tunnel.awaitEmpty
    }))

  it.scopedLive("TcpTunnel.forward resets connections and ends streams when its scope closes", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const { ends, onJoined } = recorder()
      const tunnel = yield* forwarding(client, { onJoined })
      const near = yield* Tcp.connect(tunnel.port)
      const far = yield* server.accept
      const waiting = yield* Tcp.connect(tunnel.port) // its stream is never accepted
      yield* near.write("hello")
      expect(text(yield* readSome(far))).toBe("hello")
      yield* eventually(() => ends.length === 0)
      yield* tunnel.close
      expect(yield* readAll(far)).toEqual(new Uint8Array(0))
      expect([(yield* near.over).how, (yield* waiting.over).how]).toEqual(["ECONNRESET", "ECONNRESET"])
      expect(ends).toEqual(["interruption"])
    }))

  it.scopedLive("TcpTunnel.forward opens on the next session when the current one has just ended", () =>
    Effect.gen(function*() {
      const redialled = yield* Redialled.makeServer()
      const tunnel = yield* ReconnectingSession.make({
        transport: redialled.dial,
        schedule: Schedule.spaced("10 millis")
      })
      const lost = yield* redialled.link
      yield* tunnel.current
      const { port } = yield* forwarding(tunnel, { onConnection: () => void Effect.runFork(lost.pair.cut) })
      const near = yield* Tcp.connect(port)
      const { server } = yield* within(patience, "the next session")(redialled.link)
      const far = yield* within(patience, "the stream")(server.accept)
      yield* near.write("hello")
      expect(text(yield* readSome(far))).toBe("hello")
    }))
})

/** Sessions whose operations another package made: they have only effects. */
const foreign = {
  "a plain object": (session: Session.Session): Session.Session =>
    ({
      open: (options?: Session.OpenOptions) => session.open(options),
      run: (handler: (stream: MuxStream) => Effect.Effect<unknown>) => session.run(handler)
    }) as unknown as Session.Session,
  "a session with a wrapped open and run": (session: Session.Session): Session.Session => ({
    ...session,
    open: ((options?: Session.OpenOptions) => Effect.tap(session.open(options), Effect.void)) as typeof session.open,
    run: (handler) => session.run(handler)
  })
}

/** Sessions whose operations are those of this package. */
const native = {
  "a session": (session: Session.Session) => session,
  "a copy of a session": (session: Session.Session): Session.Session => ({ ...session }),
  "a session with a principal": (session: Session.Session): Session.Session => Session.withPrincipal(session, "alice")
}

for (const [kind, make] of Object.entries({ ...native, ...foreign })) {
  const isForeign = kind in foreign
  describe(`TcpTunnel with ${kind}`, () => {
    it.scoped(`TcpTunnel ${isForeign ? "works by fibers" : "needs no fiber for a connection"} with ${kind}`, () =>
      countingFibers((fibers) =>
        Effect.gen(function*() {
          const target = yield* Tcp.listen
          const { client, server } = yield* makeSessions(plainly())
          const { ends, onJoined } = recorder()
          yield* serving(make(server), target.port, { onJoined })
          const tunnel = yield* forwarding(make(client), { onJoined })
          yield* fibers
          const before = yield* fibers
          const pairs = yield* Effect.forEach(Array.from({ length: 5 }), () =>
            Effect.gen(function*() {
              const near = yield* Tcp.connect(tunnel.port)
              const far = yield* target.accept
              yield* near.write("hello")
              expect(text(yield* far.received(5))).toBe("hello")
              return { near, far }
            }))
          const during = yield* fibers
          if (isForeign) expect(during - before).toBeGreaterThanOrEqual(5)
          else expect(during - before).toBe(0)
          for (const { far, near } of pairs) {
            yield* near.end
            yield* far.over
            yield* far.end
            expect((yield* near.over).how).toBe("end")
          }
          yield* tunnel.awaitEmpty
          yield* eventually(() => ends.length === 10)
          expect(ends).toEqual(ends.map(() => "success"))
          expect(yield* fibers).toBe(before)
          expect([yield* streamsOf(client), yield* streamsOf(server)]).toEqual([0, 0])
        })
      ))
  })
}

/** Collects the messages that a program logs. */
const logging = <A, E, R>(use: (lines: Array<string>) => Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message }) => void lines.push(String(message)))
  return Effect.provide(use(lines), Logger.replace(Logger.defaultLogger, logger))
}

/** Throws at the first call. */
const throwOnce = () => {
  let calls = 0
  return () => {
    if (++calls === 1) throw new Error("a fault of the program")
  }
}

/** The hooks of `serve` that throw at the first connection. */
const faultyHooks: Record<string, (port: number) => Partial<ServeOptions>> = {
  "connect": (port) => {
    const fault = throwOnce()
    return {
      connect: () => {
        fault()
        return dial(port)()
      }
    }
  },
  "onJoined": () => ({ onJoined: throwOnce() as () => undefined }),
  "the end function of onJoined": () => {
    const fault = throwOnce()
    return { onJoined: () => fault }
  }
}

describe("TcpTunnel.serve with a hook that throws", () => {
  for (const [hook, make] of Object.entries(faultyHooks)) {
    it.scopedLive(`TcpTunnel.serve loses only the connection and logs when ${hook} throws`, () =>
      logging((lines) =>
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions(plainly())
          const echo = yield* Tcp.echo
          const served = yield* serving(server, echo, make(echo))
          const first = yield* client.open()
          yield* first.end
          yield* within(patience, "the end of the first stream")(readAll(first))
          const second = yield* client.open()
          yield* second.write(bytes("hello"))
          expect(text(yield* within(patience, "the echo")(readSome(second)))).toBe("hello")
          yield* eventually(() => lines.length > 0)
          expect(lines).toEqual([expect.stringContaining("cannot forward a connection: a hook threw")])
          yield* second.end
          yield* empty(server)
          yield* Fiber.interrupt(served)
        })
      ))
  }

  it.scopedLive("TcpTunnel.serve ends the stream when onUnreachable throws", () =>
    logging((lines) =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(plainly())
        yield* serving(server, yield* closedPort, {
          onUnreachable: () => {
            throw new Error("a fault of the program")
          }
        })
        yield* within(patience, "the end of the stream")(readAll(yield* client.open()))
        yield* within(patience, "the end of the next stream")(readAll(yield* client.open()))
        expect(lines.length).toBe(2)
      })
    ))
})

describe("TcpTunnel.forward with a hook that throws", () => {
  for (const hook of ["onConnection", "onJoined", "onRefused"] as const) {
    it.scopedLive(`TcpTunnel.forward loses only the connection and logs when ${hook} throws`, () =>
      logging((lines) =>
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions(plainly())
          yield* serving(server, yield* Tcp.echo)
          const refused = new StreamRefused({ streamId: 1 })
          let opens = 0
          const open = (options?: Session.OpenOptions) => ++opens === 1 ? Effect.fail(refused) : client.open(options)
          const opener = hook === "onRefused" ? { open: open as Session.Open<OpenError> } : client
          const tunnel = yield* forwarding(opener, { [hook]: throwOnce() })
          expect(yield* refusalOf(tunnel.port)).toBe("ECONNRESET")
          const second = yield* Tcp.connect(tunnel.port)
          yield* second.write("hello")
          expect(text(yield* second.received(5))).toBe("hello")
          yield* eventually(() => lines.length > 0)
          expect(lines).toEqual([expect.stringContaining("cannot forward a connection: a hook threw")])
        })
      ))
  }
})
