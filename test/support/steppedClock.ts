import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * Runs a program whose wall clock the test can set, as an operator or NTP does. The time of day jumps, and the
 * monotonic clock and all sleepers go on as before.
 */
export const withSteppedClock = <A, E, R>(
  program: (setBack: (millis: number) => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => {
    let offset = 0
    const now = () => clock.unsafeCurrentTimeMillis() - offset
    const stepped: Clock.Clock = Object.create(clock, {
      unsafeCurrentTimeMillis: { value: now },
      currentTimeMillis: { value: Effect.sync(now) },
      unsafeCurrentTimeNanos: { value: () => clock.unsafeCurrentTimeNanos() },
      currentTimeNanos: { value: clock.currentTimeNanos }
    })
    return Effect.withClock(program((millis) => offset += millis), stepped)
  })

/** An hour, in milliseconds. */
export const hour = 3_600_000
