import { describe, expect, it } from "@effect/vitest"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import type { Transport } from "effect-wsmux/Transport"
import { type ConnectFailure, NotConnected, SessionClosed } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { countingFibers, failureOf, quiet, start } from "../../support/observe.js"
import { cut, everySecond, makeServer, unreachable } from "../../support/redialledServer.js"
import { settle } from "../../support/sessions.js"

const closed = new NotConnected({ reason: "Closed" })

describe("ReconnectingSession", () => {
  it.scoped("ReconnectingSession fails all operations with the cause when its schedule ends", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const seen: Array<string> = []
      const session = yield* ReconnectingSession.make({
        transport: server.dial,
        schedule: Schedule.recurs(0).pipe(
          Schedule.tapInput((cause: { readonly _tag: string }) => Effect.sync(() => seen.push(cause._tag)))
        )
      })
      const link = yield* server.link
      const accept = yield* start(session.accept)
      yield* link.server.close
      const why = new NotConnected({
        reason: "GaveUp",
        cause: new SessionClosed({ by: "peer", code: 1000, reason: "" })
      })
      expect(yield* session.awaitClosed).toEqual(why)
      expect(yield* failureOf(accept)).toEqual(why)
      expect(yield* Effect.flip(session.open())).toEqual(why)
      expect(yield* Effect.flip(session.current)).toEqual(why)
      expect(yield* Effect.flip(session.run(() => Effect.void))).toEqual(why)
      expect(yield* session.state.get).toEqual({ _tag: "Closed", cause: why, draining: [] })
      expect(why.message).toBe("reconnecting gave up: the session was closed by the peer (code 1000)")
      expect(seen).toEqual(["SessionClosed"])
    }))

  it.scoped("ReconnectingSession closes its session and stops dialling when its scope closes", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const scope = yield* Scope.make()
      const session = yield* Scope.extend(
        ReconnectingSession.make({ transport: server.dial, role: "client", schedule: everySecond }),
        scope
      )
      yield* session.current
      const states: Array<string> = []
      yield* start(Stream.runForEach(session.state.changes, ({ _tag }) => Effect.sync(() => states.push(_tag))))
      const first = yield* server.link
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      yield* settle
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      expect(yield* second.server.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
      yield* settle
      expect(states).toEqual(["Connected", "Connecting", "Connected", "Closed"])
      yield* TestClock.adjust("1 hour")
      expect(yield* server.calls).toBe(2)
      yield* session.close
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "Closed" }))
    }))

  const hanging = (interrupted: Array<string>, where: string) =>
    Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(where)))

  it.scoped("ReconnectingSession.close stops what the session does, and fails all pending operations", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const interrupted: Array<string> = []
        const places = (dial: Effect.Effect<Transport, ConnectFailure>) => ({
          transport: { transport: hanging(interrupted, "transport") },
          onConnect: { transport: dial, onConnect: () => hanging(interrupted, "onConnect") },
          schedule: { transport: Effect.fail(unreachable), schedule: everySecond }
        })
        for (const place of ["transport", "onConnect", "schedule"] as const) {
          const before = yield* fibers
          yield* Effect.scoped(Effect.gen(function*() {
            const server = yield* makeServer(quiet)
            const session = yield* ReconnectingSession.make<ConnectFailure, never>(places(server.dial)[place])
            const waiting = yield* Effect.forEach(
              [session.open(), session.accept, session.run(() => Effect.void), session.current],
              (operation) => start(operation as Effect.Effect<unknown, NotConnected, Scope.Scope>)
            )
            yield* session.close
            for (const fiber of waiting) expect(yield* failureOf(fiber)).toEqual(closed)
            expect(yield* session.state.get).toEqual({ _tag: "Closed", cause: closed, draining: [] })
            yield* TestClock.adjust("1 minute")
            for (const { server: far } of yield* Queue.takeAll(server.links)) {
              expect(yield* far.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
            }
          }))
          expect([place, yield* fibers]).toEqual([place, before])
        }
        expect(interrupted).toEqual(["transport", "onConnect"])
      })
    ))

  it.scoped("ReconnectingSession.open leaves no fiber when interrupted while it waits for a session", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const server = yield* makeServer(quiet)
        const gate = yield* Effect.makeLatch(false)
        const session = yield* ReconnectingSession.make({ transport: Effect.zipRight(gate.await, server.dial) })
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
        expect((yield* (yield* server.link).server.snapshot).backlog).toBe(0)
      })
    ))
})
