import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import type * as Session from "effect-wsmux/Session"
import {
  BrokenPipe,
  type ConnectFailure,
  NotConnected,
  SessionClosed,
  SessionDraining,
  StreamRefused
} from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as Record from "../../../src/internal/wire/record.js"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { cut, everySecond, makeServer, unreachable } from "../../support/redialledServer.js"
import { readSome, settle } from "../../support/sessions.js"
import { listen } from "../../support/transportSuite.js"

const native = { ...quiet, dialect: "auto" } as const

const draining = (more: Partial<SessionDraining> = {}) =>
  new SessionDraining({ by: "peer", code: 0, graceMillis: 30_000, redial: true, reason: "", ...more })

/** A reconnecting session and the server that it dials. */
const makeBoth = (
  options: Partial<ReconnectingSession.Options<ConnectFailure, never, ConnectFailure, never, never>> = {}
) =>
  Effect.gen(function*() {
    const server = yield* makeServer(native)
    const session = yield* ReconnectingSession.make({
      transport: server.dial,
      schedule: everySecond,
      settings: native,
      ...options
    })
    return { server, session }
  })

/** Opens a stream that the server's session accepts. Both sessions know that they speak the dialect then. */
const openAt = (session: ReconnectingSession.Service, far: Session.Session) =>
  Effect.all([session.open(), far.accept], { concurrency: 2 })

/** The tag of the state, and the number of sessions that drain. */
const stateOf = (session: ReconnectingSession.Service) =>
  Effect.map(session.state.get, (state) => [state._tag, state.draining.length])

describe("ReconnectingSession whose peer drains", () => {
  it.scoped("ReconnectingSession opens on its next session at once, and old streams go on, when drained", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch(true)
      const { server, session } = yield* makeBoth({ onConnect: () => gate.await })
      const first = yield* server.link
      const [near, far] = yield* openAt(session, first.server)
      const old = yield* session.current
      yield* gate.close
      const drain = yield* start(first.server.drain())
      expect(yield* session.state.get).toEqual({ _tag: "Connecting", attempt: 1, cause: draining(), draining: [old] })
      const open = yield* start(session.open())
      yield* expectWaiting(open)
      yield* gate.open
      const second = yield* server.link
      yield* second.server.accept
      yield* Fiber.join(open)
      const current = yield* session.current
      expect(yield* session.state.get).toEqual({ _tag: "Connected", session: current, draining: [old] })
      yield* near.write(bytes("after"))
      expect(text(yield* readSome(far))).toBe("after")
      yield* near.end
      yield* far.end
      yield* Fiber.join(drain)
      yield* settle
      expect(yield* session.state.get).toEqual({ _tag: "Connected", session: current, draining: [] })
      expect(yield* old.isClosed).toBe(true)
      expect(yield* server.calls).toBe(2)
    }))

  it.scoped("ReconnectingSession.open repeats opens that wait or cross the announcement when drained", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth({ settings: { ...native, maxUnacknowledgedOpens: 1 } })
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* first.pair.stall("client")
      const opens = yield* Effect.replicateEffect(start(session.open()), 3)
      yield* start(first.server.drain())
      yield* first.pair.resume("client")
      const second = yield* server.link
      const ids = yield* Effect.replicateEffect(second.server.accept, 3)
      expect(ids.map(({ id }) => id)).toEqual([1, 3, 5])
      yield* Effect.forEach(opens, Fiber.join)
    }))

  it.scoped("ReconnectingSession.run and accept take streams of the old session's backlog when drained", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      yield* openAt(session, first.server)
      const waiting = yield* Effect.replicateEffect(start(first.server.open()), 2)
      yield* start(first.server.drain())
      const second = yield* server.link
      yield* settle
      expect((yield* session.accept).id).toBe(0)
      const later = yield* start(second.server.open())
      const served: Array<number> = []
      yield* start(session.run(({ id }) => Effect.zipRight(Effect.sync(() => served.push(id)), Effect.never)))
      yield* Effect.forEach([...waiting, later], Fiber.join)
      expect(served.sort()).toEqual([0, 2])
    }))

  it.scoped("ReconnectingSession.accept takes a stream of either session when it waits at both", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      yield* openAt(session, first.server)
      const accepts = yield* Effect.replicateEffect(start(session.accept), 4)
      yield* first.pair.stall("server")
      const opens = yield* Effect.replicateEffect(start(first.server.open()), 2)
      yield* start(first.server.drain())
      yield* first.pair.resume("server")
      const second = yield* server.link
      opens.push(...yield* Effect.replicateEffect(start(second.server.open()), 2))
      yield* Effect.forEach(opens, Fiber.join)
      const ids = yield* Effect.forEach(accepts, Fiber.join)
      expect(ids.map(({ id }) => id).sort()).toEqual([0, 0, 2, 2])
    }))

  it.scoped("ReconnectingSession.accept loses no stream when it is interrupted while it waits at both", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* start(first.server.drain())
      const second = yield* server.link
      yield* settle
      const [interrupted, other] = [yield* start(session.accept), yield* start(session.accept)]
      const open = yield* Effect.fork(second.server.open())
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(interrupted)
      yield* Fiber.join(open)
      expect((yield* Fiber.join(other)).id).toBe(0)
    }))

  it.scoped("ReconnectingSession keeps its next session when the grace of the old one has passed", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      const [near] = yield* openAt(session, first.server)
      const read = yield* start(near.read)
      yield* start(first.server.drain({ grace: "5 seconds" }))
      yield* TestClock.adjust(4999)
      yield* expectWaiting(read)
      yield* TestClock.adjust(1)
      const cause = new SessionClosed({ by: "peer", code: 1001, reason: "drained: the grace has passed" })
      expect(yield* failureOf(read)).toEqual(
        new BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause })
      )
      yield* settle
      expect(yield* stateOf(session)).toEqual(["Connected", 0])
      expect(yield* server.calls).toBe(2)
    }))

  it.scoped("ReconnectingSession dials by its schedule when the next attempt fails beside old streams", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth({ openTimeout: "2 seconds" })
      const first = yield* server.link
      const [near, far] = yield* openAt(session, first.server)
      yield* server.setDown(true)
      yield* start(first.server.drain({ grace: "1 minute" }))
      expect(yield* session.state.get).toMatchObject({ _tag: "Connecting", attempt: 2, cause: unreachable })
      const open = yield* start(session.open())
      yield* TestClock.adjust("2 seconds")
      expect(yield* failureOf(open)).toEqual(new NotConnected({ reason: "Timeout", cause: unreachable }))
      expect(yield* server.calls).toBe(4)
      const later = yield* start(session.open())
      yield* server.setDown(false)
      yield* near.write(bytes("after"))
      expect(text(yield* readSome(far))).toBe("after")
      yield* TestClock.adjust("1 second")
      yield* (yield* server.link).server.accept
      yield* Fiber.join(later)
      expect(yield* stateOf(session)).toEqual(["Connected", 1])
    }))

  it.scoped("ReconnectingSession dials by its schedule when the server sends each new session away", () =>
    Effect.gen(function*() {
      const { server } = yield* makeBoth({ stableAfter: "10 seconds" })
      const sendAway = Effect.gen(function*() {
        const { server: far } = yield* server.link
        yield* settle
        yield* start(far.drain())
      })
      yield* sendAway
      for (const calls of [2, 3, 4]) {
        expect(yield* server.calls).toBe(calls)
        yield* sendAway
        expect(yield* server.calls).toBe(calls)
        yield* TestClock.adjust("1 second")
      }
      yield* TestClock.adjust("10 seconds") // the session is stable now
      expect(yield* server.calls).toBe(5)
      yield* sendAway
      expect(yield* server.calls).toBe(6)
    }))

  it.scoped("ReconnectingSession dials by its schedule when the peer does not want to be dialled now", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* start(first.server.drain({ redial: false }))
      const cause = draining({ redial: false })
      expect(yield* session.state.get).toMatchObject({ _tag: "Connecting", attempt: 1, cause })
      yield* TestClock.adjust(999)
      expect(yield* server.calls).toBe(1)
      yield* TestClock.adjust(1)
      expect(yield* server.calls).toBe(2)
    }))

  it.scoped("ReconnectingSession dials once when the peer drains twice, and is lost then", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      const [near] = yield* openAt(session, first.server)
      yield* start(first.server.drain())
      yield* start(first.server.drain({ grace: "1 second" }))
      expect(yield* stateOf(session)).toEqual(["Connected", 1])
      yield* cut(first)
      expect(yield* Effect.flip(near.read)).toBeInstanceOf(BrokenPipe)
      expect(yield* stateOf(session)).toEqual(["Connected", 0])
      yield* TestClock.adjust("1 minute")
      expect(yield* server.calls).toBe(2)
    }))

  it.scoped("ReconnectingSession goes on with the next session when drained before onConnect ends", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch(false)
      const { server, session } = yield* makeBoth({ onConnect: () => gate.await })
      const first = yield* server.link
      yield* settle
      const drain = yield* start(first.server.drain())
      yield* Fiber.join(drain) // an idle session is closed at once
      yield* settle
      const open = yield* start(session.open())
      yield* gate.open
      yield* TestClock.adjust("1 second")
      yield* (yield* server.link).server.accept
      yield* Fiber.join(open)
    }))

  it.scoped("ReconnectingSession closes the session that drains, too, when it is closed", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* start(first.server.drain())
      const second = yield* server.link
      yield* settle
      yield* session.close
      const closed = new SessionClosed({ by: "peer", code: 1000, reason: "" })
      expect([yield* first.server.awaitClosed, yield* second.server.awaitClosed]).toEqual([closed, closed])
      const cause = new NotConnected({ reason: "Closed" })
      expect(yield* session.state.get).toEqual({ _tag: "Closed", cause, draining: [] })
    }))

  it.scoped("ReconnectingSession serves a session that drains to its end when its schedule gives up", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth({ schedule: Schedule.stop })
      const first = yield* server.link
      const [near, far] = yield* openAt(session, first.server)
      const waiting = yield* start(first.server.open())
      yield* server.setDown(true)
      const drain = yield* start(first.server.drain())
      const why = new NotConnected({ reason: "GaveUp", cause: unreachable })
      expect([yield* session.awaitClosed, yield* Effect.flip(session.open())]).toEqual([why, why])
      expect(yield* stateOf(session)).toEqual(["Closed", 1])
      const other = yield* Effect.scoped(Effect.zipRight(session.accept, Effect.void)).pipe(Effect.fork)
      const otherFar = yield* Fiber.join(waiting)
      yield* Fiber.join(other)
      yield* otherFar.end
      yield* near.write(bytes("after"))
      expect(text(yield* readSome(far))).toBe("after")
      const accept = yield* start(session.accept)
      yield* expectWaiting(accept)
      yield* near.end
      yield* far.end
      yield* Fiber.join(drain)
      expect(yield* failureOf(accept)).toEqual(why)
      expect(yield* stateOf(session)).toEqual(["Closed", 0])
    }))

  it.scoped("ReconnectingSession closes the session that drains when it is closed after it gave up", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth({ schedule: Schedule.stop })
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* server.setDown(true)
      yield* start(first.server.drain())
      yield* session.close
      expect(yield* first.server.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
    }))

  it.scoped("ReconnectingSession asks isHopeless about a session that drains", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth({
        isHopeless: (cause) => cause instanceof SessionDraining && cause.code === 300
      })
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* start(first.server.drain({ code: 300 }))
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "GaveUp", cause: draining({ code: 300 }) }))
      expect(yield* server.calls).toBe(1)
    }))

  it.scoped("ReconnectingSession dials its next session when its program drains the current one", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth()
      const first = yield* server.link
      const [near] = yield* openAt(session, first.server)
      yield* start(Effect.flatMap(session.current, (current) => current.drain({ grace: "1 second" })))
      yield* openAt(session, (yield* server.link).server)
      yield* TestClock.adjust("1 second")
      expect(yield* Effect.flip(near.read)).toBeInstanceOf(BrokenPipe)
    }))

  it.scoped("ReconnectingSession fails an open and dials after the grace when its peer speaks Go's wire", () =>
    Effect.gen(function*() {
      const { server, session } = yield* makeBoth({ settings: { ...quiet, dialect: "off" } })
      const first = yield* server.link
      yield* openAt(session, first.server)
      yield* start(first.server.drain({ grace: "5 seconds" }))
      expect(yield* Effect.flip(session.open())).toEqual(new StreamRefused({ streamId: 3 }))
      yield* TestClock.adjust("5 seconds")
      yield* settle
      const closed = new SessionClosed({ by: "peer", code: 1001, reason: "drained: the grace has passed" })
      expect(yield* session.state.get).toMatchObject({ _tag: "Connecting", cause: closed })
      yield* TestClock.adjust("1 second")
      expect(yield* server.calls).toBe(2)
    }))

  it.scoped("ReconnectingSession closes an old session without streams when its peer leaves it open", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const scope = yield* Effect.scope
      const next = yield* Scope.extend(MemoryTransport.makePair(), scope)
      const transports = [pair.client, next.client]
      const peer = yield* listen(pair.server)
      yield* ReconnectingSession.make({
        transport: Effect.sync(() => transports.shift()!),
        settings: native
      })
      const { goAway, open, reset } = Record.Feature
      pair.server.send([Record.encodeHello({ features: open | reset | goAway })])
      pair.server.send([Record.encodeGoAway({ code: 0, graceMillis: 2 ** 32 - 1, redial: true, reason: "" })])
      expect(yield* peer.ended).toMatchObject({ code: 1001, reason: "drained" })
      expect(transports).toEqual([])
    }))
})
