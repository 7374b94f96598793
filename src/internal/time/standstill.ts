import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"

/**
 * For how many turns of the event loop a clock must stand still. A test that calls `TestClock.adjust` needs a handful
 * of turns before. A turn takes a millisecond, so other tests end a tenth of a second later.
 */
const turns = 100

/**
 * Ends a wait when the program's clock stands still. A `TestClock` stands still once the test is over, so a time-out by
 * that clock would never come. Under the live clock, returns the wait itself.
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
