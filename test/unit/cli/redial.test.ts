import { describe, expect, it } from "@effect/vitest"
import { Redial } from "effect-wsmux/cli/redial"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"

/** Draws the longest random wait. */
const withLongestWait = Effect.withRandom(Random.fixed([0.999_999_999]))
const millis = (redial: Redial) => Effect.map(withLongestWait(redial.lost), Math.round)

describe("Redial", () => {
  it.effect("Redial makes the first attempt at once", () => new Redial(Duration.seconds(30)).turn)

  it.effect("Redial doubles the ceiling of the wait with each failure, up to the longest wait", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(3))
      const waits = yield* Effect.replicateEffect(millis(redial), 5)
      expect(waits).toEqual([500, 1000, 2000, 3000, 3000])
    }))

  it.effect("Redial spreads the wait evenly below its ceiling", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(30))
      for (const [chance, wait] of [[0, 0], [0.25, 250], [0.5, 1000]] as const) {
        expect(yield* Effect.withRandom(redial.lost, Random.fixed([chance]))).toBe(wait)
      }
    }))

  it.effect("Redial backs off from a server that accepts every client and hangs up", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(30))
      const waits = yield* Effect.replicateEffect(Effect.zipRight(redial.connected, millis(redial)), 4)
      expect(waits).toEqual([500, 1000, 2000, 4000])
    }))

  it.effect("Redial starts again with the first ceiling after a session of 30 s", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(30))
      yield* Effect.replicateEffect(redial.lost, 5)
      yield* redial.connected
      yield* TestClock.adjust("30 seconds")
      expect(yield* millis(redial)).toBe(500)
      expect(yield* millis(redial)).toBe(1000)
    }))

  it.effect("Redial dials at once when a session goes on beside the attempt, after earlier failures", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.minutes(10))
      yield* Effect.replicateEffect(withLongestWait(redial.lost), 9)
      yield* redial.connected
      yield* redial.turn
    }))

  it.effect("Redial dials at once when a local connection waits, at most once per second", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.minutes(10))
      yield* redial.turn
      yield* Effect.replicateEffect(withLongestWait(redial.lost), 9)
      const turn = yield* Effect.fork(redial.turn)
      yield* TestClock.adjust("5 seconds")
      expect(turn.unsafePoll()).toBeNull()
      redial.hurry()
      yield* Fiber.join(turn)

      yield* withLongestWait(redial.lost)
      const next = yield* Effect.fork(redial.turn)
      redial.hurry()
      yield* TestClock.adjust("999 millis")
      expect(next.unsafePoll()).toBeNull()
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(next)
    }))
})
