import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** The monotonic time in milliseconds, from any start. A change of the wall clock does not move it. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

/** The same, of the program's clock at each run. */
export const currentMonotonicMillis: Effect.Effect<number> = Effect.map(Effect.clock, monotonicMillis)
