import { describe, expect, it } from "@effect/vitest"
import { Redial } from "effect-wsmux/cli/redial"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"

/** The largest wait that chance may give. */
const most = Effect.withRandom(Random.fixed([0.999_999_999]))
const millis = (redial: Redial) => Effect.map(most(redial.lost), Math.round)

describe("Redial", () => {
  it.effect("makes the first attempt at once", () => new Redial(Duration.seconds(30)).turn)

  it.effect("doubles the ceiling of the wait with each failure, up to the longest", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(3))
      const waits = yield* Effect.replicateEffect(millis(redial), 5)
      expect(waits).toEqual([500, 1000, 2000, 3000, 3000])
    }))

  it.effect("spreads the wait over all of it", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(30))
      for (const [chance, wait] of [[0, 0], [0.25, 250], [0.5, 1000]] as const) {
        expect(yield* Effect.withRandom(redial.lost, Random.fixed([chance]))).toBe(wait)
      }
    }))

  it.effect("backs off from a server that lets every client in and hangs up", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(30))
      const waits = yield* Effect.replicateEffect(Effect.zipRight(redial.connected, millis(redial)), 4)
      expect(waits).toEqual([500, 1000, 2000, 4000])
    }))

  it.effect("starts anew after a session of thirty seconds", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.seconds(30))
      yield* Effect.replicateEffect(redial.lost, 5)
      yield* redial.connected
      yield* TestClock.adjust("30 seconds")
      expect(yield* millis(redial)).toBe(500)
      expect(yield* millis(redial)).toBe(1000)
    }))

  it.effect("dials at once when a local connection waits, once a second at most", () =>
    Effect.gen(function*() {
      const redial = new Redial(Duration.minutes(10))
      yield* redial.turn
      yield* Effect.replicateEffect(most(redial.lost), 9)
      const turn = yield* Effect.fork(redial.turn)
      yield* TestClock.adjust("5 seconds")
      expect(turn.unsafePoll()).toBeNull()
      yield* redial.hurry
      yield* Fiber.join(turn)

      yield* most(redial.lost)
      const next = yield* Effect.fork(redial.turn)
      yield* redial.hurry
      yield* TestClock.adjust("999 millis")
      expect(next.unsafePoll()).toBeNull()
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(next)
    }))
})
