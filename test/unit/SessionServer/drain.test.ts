import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type { PartialSettings } from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { ConnectFailure, SessionClosed, SessionDraining, StreamRefused } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { expectWaiting, quiet, start } from "../../support/observe.js"
import { settle } from "../../support/sessions.js"

const native: PartialSettings = { ...quiet, dialect: "auto" }
const plain: PartialSettings = { ...quiet, dialect: "off" }

const draining = (graceMillis: number) =>
  new SessionDraining({ by: "peer", code: 0, graceMillis, redial: true, reason: "" })

const closed = (reason: string) => new SessionClosed({ by: "peer", code: 1001, reason })
const graceHasPassed = closed("drained: the grace has passed")

/** A server in memory, each of whose streams is over when its client ends the stream. */
const makeServer = Effect.gen(function*() {
  const transports = yield* MemoryTransport.makeServer()
  const server = yield* SessionServer.fromTransportServer(transports, native)
  yield* Effect.forkScoped(server.run((session) => session.run((stream) => Effect.zipRight(stream.read, stream.end))))
  const dial = (settings: PartialSettings = native) =>
    Effect.gen(function*() {
      const { client } = yield* transports.connect()
      return yield* Effect.provideService(Session.makeClient(settings), Transport, client)
    })
  return { server, transports, dial }
})

describe("SessionServer.drain", () => {
  it.scoped("SessionServer.drain completes when the last session is over, and takes no connections", () =>
    Effect.gen(function*() {
      const { dial, server, transports } = yield* makeServer
      const sessions = yield* Effect.all([dial(), dial(), dial(plain)])
      const streams = [yield* sessions[0].open(), yield* sessions[2].open()]
      const drain = yield* start(server.drain())
      expect(yield* sessions[1].awaitClosed).toEqual(closed("drained"))
      expect(yield* Effect.flip(sessions[0].open())).toEqual(draining(30_000))
      expect(yield* Effect.flip(sessions[2].open())).toEqual(new StreamRefused({ streamId: 3 }))
      expect(yield* Effect.flip(transports.connect())).toEqual(
        new ConnectFailure({ url: "memory:server", reason: "Rejected", status: 503, retryAfterMillis: 1000 })
      )
      for (const stream of streams) {
        yield* TestClock.adjust("10 seconds")
        yield* expectWaiting(drain)
        yield* stream.end
      }
      yield* Fiber.join(drain)
      for (const session of sessions) expect(yield* session.awaitClosed).toEqual(closed("drained"))
    }))

  it.scoped("SessionServer.drain closes the sessions with code 1001 when the grace has passed", () =>
    Effect.gen(function*() {
      const { dial, server } = yield* makeServer
      const sessions = yield* Effect.all([dial(), dial(plain)])
      for (const session of sessions) yield* session.open()
      const drain = yield* start(server.drain({ grace: "5 seconds" }))
      yield* TestClock.adjust(4999)
      yield* expectWaiting(drain)
      yield* TestClock.adjust(1)
      yield* Fiber.join(drain)
      for (const session of sessions) expect(yield* session.awaitClosed).toEqual(graceHasPassed)
    }))

  it.scoped("SessionServer.drain completes at once when there is no session, and again", () =>
    Effect.gen(function*() {
      const { server } = yield* makeServer
      yield* server.drain({ grace: Infinity })
      yield* server.drain()
    }))

  it.scoped("SessionServer.drain drains a session that begins meanwhile, for the grace that is left", () =>
    Effect.gen(function*() {
      const { dial, server, transports } = yield* makeServer
      yield* (yield* dial()).open()
      const late = yield* Effect.fork(Effect.gen(function*() {
        const { client } = yield* transports.connect() // its handler starts in a later step
        const session = yield* Effect.provideService(Session.makeClient(native), Transport, client)
        yield* Effect.forkScoped(session.open())
        yield* server.drain({ grace: "10 seconds" })
        return session
      }))
      yield* settle
      yield* TestClock.adjust("10 seconds")
      expect(yield* (yield* Fiber.join(late)).awaitClosed).toEqual(closed("drained"))
    }))

  it.scoped("SessionServer.drain only shortens the grace when called again", () =>
    Effect.gen(function*() {
      const { dial, server } = yield* makeServer
      const session = yield* dial()
      yield* session.open()
      const drains = [
        yield* start(server.drain({ grace: "20 seconds" })),
        yield* start(server.drain({ grace: "1 hour" })),
        yield* start(server.drain({ grace: "5 seconds" }))
      ]
      yield* TestClock.adjust(4999)
      yield* expectWaiting(...drains)
      yield* TestClock.adjust(1)
      yield* Effect.forEach(drains, Fiber.join)
      expect(yield* session.awaitClosed).toEqual(graceHasPassed)
    }))

  it.scoped("SessionServer.drain completes when its last session is lost", () =>
    Effect.gen(function*() {
      const { server, transports } = yield* makeServer
      const pair = yield* transports.connect()
      const session = yield* Effect.provideService(Session.makeClient(native), Transport, pair.client)
      yield* session.open()
      const drain = yield* start(server.drain({ grace: Infinity }))
      yield* expectWaiting(drain)
      yield* pair.cut
      yield* Fiber.join(drain)
    }))

  it.scoped("SessionServer.drain goes on when its caller is interrupted", () =>
    Effect.gen(function*() {
      const { dial, server, transports } = yield* makeServer
      const session = yield* dial()
      yield* session.open()
      yield* Fiber.interrupt(yield* start(server.drain()))
      expect(yield* Effect.flip(transports.connect())).toMatchObject({ status: 503 })
      yield* TestClock.adjust("30 seconds")
      expect(yield* session.awaitClosed).toEqual(graceHasPassed)
    }))

  it.scoped("SessionServer.drain closes its sessions at once when run is interrupted meanwhile", () =>
    Effect.gen(function*() {
      const transports = yield* MemoryTransport.makeServer()
      const server = yield* SessionServer.fromTransportServer(transports, native)
      const running = yield* start(server.run((session) => session.run(() => Effect.never)))
      const { client } = yield* transports.connect()
      const session = yield* Effect.provideService(Session.makeClient(native), Transport, client)
      yield* session.open()
      const drain = yield* start(server.drain())
      yield* expectWaiting(drain)
      yield* Fiber.interrupt(running)
      yield* Fiber.join(drain)
      yield* settle
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
    }))

  it.scoped("SessionServer.drain dies and drains nothing when its code is no uint32", () =>
    Effect.gen(function*() {
      const { dial, server } = yield* makeServer
      const exit = yield* Effect.exit(server.drain({ code: -1 }))
      expect(Exit.isFailure(exit) && exit.cause._tag).toBe("Die")
      yield* (yield* dial()).open()
    }))
})
