import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { pattern } from "../../../support/bytes.js"
import { expectWaiting, quietly, start } from "../../../support/observe.js"
import { makeSessions, makeStreams } from "../../../support/sessions.js"

/** The real time after which a session that hangs fails its test. */
const withinSeconds = { timeout: 20_000 }

describe("unlessClockStandsStill", () => {
  it.scoped(
    "Session closes with its scope when the clock stands still and the link has latency",
    () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { client, server } = yield* Scope.extend(makeSessions({ link: { latency: "1 second" } }), scope)
        yield* Scope.close(scope, Exit.void)
        expect([(yield* client.awaitClosed)._tag, (yield* server.awaitClosed)._tag])
          .toEqual(["SessionClosed", "SessionClosed"])
        expect(yield* TestClock.currentTimeMillis).toBe(0)
      }),
    withinSeconds
  )

  it.scoped("Session closes with its scope when the clock stands still and frames wait", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const opened = yield* Effect.fork(
        Scope.extend(makeStreams(quietly({ link: { latency: "1 second", capacity: 100 } })), scope)
      )
      yield* TestClock.adjust("2 seconds")
      const { client, near } = yield* Fiber.join(opened)
      yield* start(near.write(pattern(1000)))
      yield* Scope.close(scope, Exit.void)
      expect((yield* client.awaitClosed)._tag).toBe("SessionClosed")
      expect(yield* TestClock.currentTimeMillis).toBe(2000)
    }), withinSeconds)

  it.scoped("Session waits for its peer up to closeTimeout when the clock goes on", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions(quietly({ client: { closeTimeout: "1 minute" } }))
      yield* Effect.addFinalizer(() => pair.cut)
      yield* pair.stall("server")
      const closing = yield* start(client.close)
      for (let second = 0; second < 59; second++) {
        yield* TestClock.adjust("1 second")
        yield* expectWaiting(closing)
      }
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
    }), withinSeconds)
})
