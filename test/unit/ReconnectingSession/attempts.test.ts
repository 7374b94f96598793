import { describe, expect, it } from "@effect/vitest"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import { ConnectFailure, NotConnected, SessionClosed, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, quiet, start } from "../../support/observe.js"
import { cut, everySecond, makeServer, unreachable } from "../../support/redialledServer.js"
import { readAll, settle } from "../../support/sessions.js"

class NoToken extends Data.TaggedError("NoToken")<{ readonly attempt: number }> {}

describe("ReconnectingSession", () => {
  it.scoped("ReconnectingSession runs transport anew per attempt, and onConnect before other use", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const tokens = yield* Ref.make(0)
      const seen: Array<string> = []
      const gate = yield* Effect.makeLatch(false)
      const session = yield* ReconnectingSession.make({
        transport: Effect.flatMap(Ref.updateAndGet(tokens, (n) => n + 1), (token) => {
          seen.push(`dial with ${token}`)
          return server.dial
        }),
        onConnect: (session) =>
          Effect.gen(function*() {
            const token = yield* Ref.get(tokens)
            yield* gate.await
            const login = yield* session.open()
            yield* Stream.run(Stream.make(bytes(`token ${token}`)), login.writable)
            seen.push(`logged in with ${token}`)
            yield* Effect.addFinalizer(() => Effect.sync(() => seen.push(`the scope of ${token} has ended`)))
          }),
        schedule: everySecond
      })
      const current = yield* start(session.current)
      const first = yield* server.link
      yield* settle
      yield* expectWaiting(current)
      yield* gate.open
      expect(text(yield* readAll(yield* first.server.accept))).toBe("token 1")
      yield* Fiber.join(current)
      yield* server.setDown(true)
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      yield* server.setDown(false)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      expect(text(yield* readAll(yield* second.server.accept))).toBe("token 3")
      yield* session.current
      expect(seen).toEqual([
        "dial with 1",
        "logged in with 1",
        "the scope of 1 has ended",
        "dial with 2",
        "dial with 3",
        "logged in with 3"
      ])
    }))

  it.scoped("ReconnectingSession counts a failed attempt when onConnect fails or its session ends", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const hooks = [Effect.fail(unreachable), Effect.never, Effect.void]
      const session = yield* ReconnectingSession.make({
        transport: server.dial,
        onConnect: (): Effect.Effect<void, ConnectFailure> => hooks.shift()!,
        schedule: everySecond
      })
      const refused = yield* server.link
      yield* settle
      expect((yield* refused.server.awaitClosed)._tag).toBe("SessionClosed")
      expect(yield* session.state.get).toEqual({ _tag: "Connecting", attempt: 2, cause: unreachable, draining: [] })
      yield* TestClock.adjust("1 second")
      yield* cut(yield* server.link)
      const third = { _tag: "Connecting", attempt: 3, cause: new TransportFailure({ code: 1006, reason: "" }) }
      expect(yield* session.state.get).toMatchObject(third)
      yield* TestClock.adjust("1 second")
      expect((yield* session.state.get)._tag).toBe("Connected")
    }))

  it.scoped("ReconnectingSession starts its schedule anew when a session has lived for 30 s", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      yield* server.setDown(true)
      yield* ReconnectingSession.make({ transport: server.dial, schedule: Schedule.exponential("1 second") })
      yield* TestClock.adjust("7 seconds") // 1, 2 and 4 s after the attempts before
      expect(yield* server.calls).toBe(4)
      yield* server.setDown(false)
      yield* TestClock.adjust("8 seconds")
      const link = yield* server.link
      yield* settle
      yield* server.setDown(true)
      yield* TestClock.adjust("30 seconds")
      yield* cut(link)
      yield* TestClock.adjust("1 second")
      expect(yield* server.calls).toBe(6)
      yield* TestClock.adjust("2 seconds")
      expect(yield* server.calls).toBe(7)
    }))

  it.scoped("ReconnectingSession continues its schedule when the server drops each session", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      yield* ReconnectingSession.make({
        transport: server.dial,
        schedule: Schedule.exponential("1 second"),
        stableAfter: "5 seconds"
      })
      yield* cut(yield* server.link)
      for (const seconds of [1, 2, 4, 8]) {
        yield* TestClock.adjust(seconds * 1000 - 1)
        const calls = yield* server.calls
        yield* TestClock.adjust(1)
        expect(yield* server.calls).toBe(calls + 1)
        yield* cut(yield* server.link)
      }
      yield* TestClock.adjust("16 seconds")
      const link = yield* server.link
      yield* TestClock.adjust("5 seconds")
      yield* cut(link)
      const calls = yield* server.calls
      yield* TestClock.adjust("1 second")
      expect(yield* server.calls).toBe(calls + 1)
    }))

  it.scoped("ReconnectingSession adds Retry-After to its schedule, up to an hour", () =>
    Effect.gen(function*() {
      const asked = [20_000, undefined, 1e15]
      let calls = 0
      yield* ReconnectingSession.make({
        transport: Effect.suspend(() =>
          new ConnectFailure({ url: "ws://busy", reason: "Rejected", status: 503, retryAfterMillis: asked[calls++] })
        ),
        schedule: everySecond
      })
      yield* settle
      for (const wait of [21_000, 1000, 3_601_000]) {
        const before = calls
        yield* TestClock.adjust(wait - 1)
        expect(calls).toBe(before)
        yield* TestClock.adjust(1)
        expect(calls).toBe(before + 1)
      }
    }))

  it.scoped("ReconnectingSession gives up when a failure is hopeless by default or by its option", () =>
    Effect.gen(function*() {
      const refusal = new ConnectFailure({ url: "ws://a", reason: "Rejected", status: 403 })
      const session = yield* ReconnectingSession.make({ transport: refusal })
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "GaveUp", cause: refusal }))

      const server = yield* makeServer()
      const asked: Array<readonly [cause: unknown, hasConnected: boolean]> = []
      const other = yield* ReconnectingSession.make({
        transport: server.dial,
        schedule: everySecond,
        isHopeless: (cause, hasConnected) => {
          asked.push([cause, hasConnected])
          return cause instanceof SessionClosed && cause.code === 4001
        }
      })
      yield* cut(yield* server.link)
      yield* TestClock.adjust("1 second")
      yield* (yield* server.link).pair.close(4001, "replaced by another client")
      const { cause } = yield* other.awaitClosed
      expect(cause).toEqual(new SessionClosed({ by: "peer", code: 4001, reason: "replaced by another client" }))
      expect(asked).toEqual([[expect.any(TransportFailure), true], [cause, true]])
    }))

  it.scoped("ReconnectingSession provides its settings to transport as the SessionConfig", () =>
    Effect.gen(function*() {
      const sizes: Array<number> = []
      const server = yield* makeServer()
      const session = yield* ReconnectingSession.make({
        transport: Effect.flatMap(SessionConfig.SessionConfig, (settings) => {
          sizes.push(settings.streamBufferSize)
          return server.dial
        }),
        settings: { streamBufferSize: 2048 }
      })
      yield* session.current
      expect(sizes).toEqual([2048])
    }))

  it.scoped("ReconnectingSession gives up with the defect when transport dies", () =>
    Effect.gen(function*() {
      const defect = new Error("a bug")
      const session = yield* ReconnectingSession.make({ transport: Effect.die(defect) })
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "GaveUp", defect }))
    }))

  it.scoped("ReconnectingSession.make fails with InvalidConfiguration before it dials", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const error = yield* Effect.flip(ReconnectingSession.make({
        transport: server.dial,
        settings: { streamBufferSize: -1 }
      }))
      expect(error).toMatchObject({ _tag: "InvalidConfiguration", setting: "streamBufferSize" })
      expect(yield* server.calls).toBe(0)
    }))

  it.scoped("ReconnectingSession retries by its schedule when an effect before the dialling fails", () =>
    Effect.gen(function*() {
      const server = yield* makeServer(quiet)
      let attempts = 0
      const decided: Array<string> = []
      const readToken = Effect.suspend(() => {
        attempts++
        return attempts < 3 ? Effect.fail(new NoToken({ attempt: attempts })) : Effect.succeed("token")
      })
      const session = yield* ReconnectingSession.make({
        transport: readToken.pipe(
          Effect.flatMap((token) => token === "token" ? server.dial : Effect.dieMessage("another token"))
        ),
        schedule: everySecond.pipe(
          Schedule.tapInput((cause: { readonly _tag: string }) => Effect.sync(() => decided.push(cause._tag)))
        )
      })
      const open = yield* start(session.open())
      expect(yield* session.state.get).toEqual({
        _tag: "Connecting",
        attempt: 2,
        cause: new NoToken({ attempt: 1 }),
        draining: []
      })
      yield* TestClock.adjust("1 second")
      expect(yield* session.state.get).toEqual({
        _tag: "Connecting",
        attempt: 3,
        cause: new NoToken({ attempt: 2 }),
        draining: []
      })
      expect(yield* server.calls).toBe(0)
      yield* TestClock.adjust("1 second")
      yield* (yield* server.link).server.accept
      expect((yield* Fiber.join(open)).id).toBe(1)
      expect(decided).toEqual(["NoToken", "NoToken"])
    }))

  it.scoped("ReconnectingSession gives up with the error of its transport when its schedule ends", () =>
    Effect.gen(function*() {
      const server = yield* makeServer(quiet)
      const session = yield* ReconnectingSession.make({
        transport: Effect.zipRight(new NoToken({ attempt: 1 }), server.dial),
        schedule: Schedule.recurs(0)
      })
      const why = new NotConnected({ reason: "GaveUp", cause: new NoToken({ attempt: 1 }) })
      expect(yield* session.awaitClosed).toEqual(why)
      expect(yield* Effect.flip(session.open())).toEqual(why)
    }))

  it.scoped("ReconnectingSession.state counts attempts anew per session, each with its cause", () =>
    Effect.gen(function*() {
      const server = yield* makeServer(quiet)
      let calls = 0
      const session = yield* ReconnectingSession.make({
        transport: Effect.suspend(() =>
          calls++ === 1 ? Effect.fail(unreachable) : Effect.delay(server.dial, "1 millis")
        ),
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
      yield* (yield* server.link).server.close
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
