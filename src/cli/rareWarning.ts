import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** A peer can cause as many as it likes, and must not fill a disk: one line in this time tells of them. */
const interval = 1_000_000_000n // nanoseconds of the monotonic clock

/**
 * Logs warnings of one kind, at most one each second; a line tells how many had none. Those are there at debug level.
 */
export const make = () => {
  let quietUntil = 0n
  let silent = 0
  return (message: () => string): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeNanos, (now) => {
      if (now < quietUntil) {
        silent++
        return Effect.logDebug(message())
      }
      const before = silent === 0 ? "" : ` (${silent} more before)`
      silent = 0
      quietUntil = now + interval
      return Effect.logWarning(`${message()}${before}`)
    })
}
