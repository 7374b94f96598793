import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * The time between two warnings, in nanoseconds. A peer may cause warnings as often as it likes, and must not fill a
 * disk.
 */
const interval = 1_000_000_000n

/**
 * Logs warnings of one kind, at most one per second. Each warning counts the messages before it that have none. These
 * messages are logged at debug level.
 */
export const make = () => {
  let quietUntil = 0n
  let silent = 0
  return (message: () => string): Effect.Effect<void> =>
    // The time is monotonic: a wall clock that is set back must not silence the warnings.
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
