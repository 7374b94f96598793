import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Milliseconds of the monotonic clock, which steps of the wall clock leave unchanged. */
export const monotonicMillis: Effect.Effect<number> = Effect.map(
  Clock.currentTimeNanos,
  (nanos) => Number(nanos) / 1e6
)
