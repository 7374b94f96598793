import type * as Clock from "effect/Clock"

/** The monotonic time in milliseconds, from any start. A change of the wall clock does not move it. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6
