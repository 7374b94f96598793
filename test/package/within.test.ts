import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { within } from "../support/within.js"

describe("within", () => {
  it.effect("within dies with the name of the event when it stays away under a TestClock", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.never.pipe(within("20 millis", "the answer of the peer")))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("waited 20ms for the answer of the peer")
    }))

  it.effect("within answers with the result or the failure of the effect when that comes in time", () =>
    Effect.gen(function*() {
      const soon = Effect.zipRight(Effect.yieldNow(), Effect.succeed(1))
      expect(yield* soon.pipe(within("5 seconds", "the result"))).toBe(1)
      expect(yield* Effect.flip(Effect.fail("lost").pipe(within("5 seconds", "the failure")))).toBe("lost")
    }))
})
