import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import { ConnectFailure, NotConnected, SessionClosed } from "effect-wsmux/WsmuxError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { countingFibers, failureOf, quiet, start } from "../../support/observe.js"
import { settle } from "../../support/sessions.js"

class NoToken extends Data.TaggedError("NoToken")<{ readonly attempt: number }> {}

const unreachable = new ConnectFailure({ url: "ws://nowhere", reason: "Unreachable" })
const everySecond = Schedule.spaced("1 second")
const closed = new NotConnected({ reason: "Closed" })

/** Dials a server of its own each time; `sessions` are those of the servers. */
const makeDial = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const sessions = yield* Queue.unbounded<Session.Session>()
  const dial = Effect.orDie(Effect.gen(function*() {
    const pair = yield* Scope.extend(MemoryTransport.makePair(), scope)
    const making = Effect.provideService(Session.makeServer(quiet), Transport, pair.server)
    yield* Queue.offer(sessions, yield* Scope.extend(making, scope))
    return pair.client
  }))
  return { dial, sessions }
})

describe("a reconnecting session whose credentials cannot be had", () => {
  it.scoped("tries again as the schedule says, without dialling, and tells why it waits", () =>
    Effect.gen(function*() {
      const { dial, sessions } = yield* makeDial
      let attempts = 0
      const decided: Array<string> = []
      const session = yield* ReconnectingSession.make({
        credentials: Effect.suspend(() => {
          attempts++
          return attempts < 3 ? Effect.fail(new NoToken({ attempt: attempts })) : Effect.succeed("token")
        }),
        transport: (token: string) => token === "token" ? dial : Effect.dieMessage("another token"),
        schedule: everySecond.pipe(
          Schedule.tapInput((cause: { readonly _tag: string }) => Effect.sync(() => decided.push(cause._tag)))
        )
      })
      const open = yield* start(session.open())
      expect(yield* session.state.get).toEqual({
        _tag: "Connecting",
        attempt: 2,
        cause: new NoToken({ attempt: 1 })
      })
      yield* TestClock.adjust("1 second")
      expect(yield* session.state.get).toEqual({ _tag: "Connecting", attempt: 3, cause: new NoToken({ attempt: 2 }) })
      expect(yield* Queue.size(sessions)).toBe(0)
      yield* TestClock.adjust("1 second")
      yield* (yield* Queue.take(sessions)).accept
      expect((yield* Fiber.join(open)).id).toBe(1)
      expect(decided).toEqual(["NoToken", "NoToken"])
    }))

  it.scoped("gives up with their error when the schedule does", () =>
    Effect.gen(function*() {
      const { dial } = yield* makeDial
      const session = yield* ReconnectingSession.make({
        credentials: Effect.fail(new NoToken({ attempt: 1 })),
        transport: () => dial,
        schedule: Schedule.recurs(0)
      })
      const why = new NotConnected({ reason: "GaveUp", cause: new NoToken({ attempt: 1 }) })
      expect(yield* session.awaitClosed).toEqual(why)
      expect(yield* Effect.flip(session.open())).toEqual(why)
    }))
})

describe("the state of a reconnecting session", () => {
  it.scoped("is told change by change: attempts counted anew with each session, each with what went wrong before", () =>
    Effect.gen(function*() {
      const { dial, sessions } = yield* makeDial
      let calls = 0
      const session = yield* ReconnectingSession.make({
        transport: () =>
          Effect.suspend(() => calls++ === 1 ? Effect.fail(unreachable) : Effect.delay(dial, "1 millis")),
        schedule: everySecond
      })
      const states: Array<unknown> = []
      yield* start(Stream.runForEach(session.state.changes, (state) =>
        Effect.sync(() =>
          states.push(
            state._tag === "Connecting"
              ? [state.attempt, (state.cause as { readonly _tag?: string } | undefined)?._tag]
              : state._tag
          )
        )))
      yield* TestClock.adjust("1 millis")
      yield* (yield* Queue.take(sessions)).close
      yield* settle
      yield* TestClock.adjust("1 second") // fails
      yield* TestClock.adjust("1001 millis")
      yield* settle
      yield* session.close
      yield* settle
      expect(states).toEqual([
        [1, undefined],
        "Connected",
        [1, "SessionClosed"],
        [2, "ConnectFailure"],
        "Connected",
        "Closed"
      ])
    }))
})

describe("a reconnecting session that is closed", () => {
  const hanging = (interrupted: Array<string>, where: string) =>
    Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(where)))

  it.scoped("while it asks for credentials, dials, runs its hook or waits: stops that, and everybody hears", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const interrupted: Array<string> = []
        const places = (dial: Effect.Effect<Transport>) => ({
          credentials: { credentials: hanging(interrupted, "credentials"), transport: () => dial },
          transport: { transport: () => hanging(interrupted, "transport") },
          connected: { transport: () => dial, connected: () => hanging(interrupted, "connected") },
          schedule: { transport: () => Effect.fail(unreachable), schedule: everySecond }
        })
        for (const place of ["credentials", "transport", "connected", "schedule"] as const) {
          const before = yield* fibers
          yield* Effect.scoped(Effect.gen(function*() {
            const { dial, sessions } = yield* makeDial
            const session = yield* ReconnectingSession.make<
              void,
              never,
              never,
              ConnectFailure,
              never,
              never,
              never,
              never
            >(places(dial)[place])
            const waiting = yield* Effect.forEach(
              [session.open(), session.accept, session.run(() => Effect.void), session.current],
              (operation) => start(operation as Effect.Effect<unknown, NotConnected, Scope.Scope>)
            )
            yield* session.close
            for (const fiber of waiting) expect(yield* failureOf(fiber)).toEqual(closed)
            expect(yield* session.state.get).toEqual({ _tag: "Closed", cause: closed })
            yield* TestClock.adjust("1 minute")
            for (const far of yield* Queue.takeAll(sessions)) {
              expect(yield* far.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
            }
          }))
          expect([place, yield* fibers]).toEqual([place, before])
        }
        expect(interrupted).toEqual(["credentials", "transport", "connected"])
      })
    ))

  it.scoped("leaves nothing of an open that was interrupted while it waited for a session", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const { dial, sessions } = yield* makeDial
        const gate = yield* Effect.makeLatch(false)
        const session = yield* ReconnectingSession.make({ transport: () => Effect.zipRight(gate.await, dial) })
        yield* settle
        const before = yield* fibers
        for (let i = 0; i < 10; i++) {
          const scope = yield* Scope.make()
          const open = yield* start(Scope.extend(session.open(), scope))
          yield* Fiber.interrupt(open)
          yield* Scope.close(scope, Exit.void)
        }
        expect(yield* fibers).toBe(before)
        yield* gate.open
        yield* session.current
        yield* settle
        expect((yield* (yield* Queue.take(sessions)).snapshot).backlog).toBe(0)
      })
    ))
})
