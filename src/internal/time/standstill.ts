import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"

/**
 * How many turns of the event loop a clock must stand for. A `TestClock.adjust` takes a handful, so a test that is
 * about to adjust its clock does so in time; and at a millisecond each, a test that does not ends a tenth of a second
 * later.
 */
const turns = 100

/**
 * Gives a wait up when the program's clock stands still, as a TestClock does once the test is over: a time-out by that
 * clock would never come. Under the live clock this is the wait itself.
 */
export const unlessClockStandsStill = <A, E, R>(wait: Effect.Effect<A, E, R>): Effect.Effect<A | void, E, R> =>
  Effect.clockWith((clock) =>
    clock === liveClock ? wait : Effect.raceFirst(Effect.interruptible(wait), Effect.interruptible(standstill(clock)))
  )

const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

const standstill = (clock: Clock.Clock): Effect.Effect<void> =>
  Effect.async((resume) => {
    let last = clock.unsafeCurrentTimeNanos()
    let still = 0
    const look = () => {
      const now = clock.unsafeCurrentTimeNanos()
      still = now === last ? still + 1 : 0
      last = now
      if (still === turns) resume(Effect.void)
      else timer = setTimeout(look, 1)
    }
    let timer = setTimeout(look, 1)
    return Effect.sync(() => clearTimeout(timer))
  })
