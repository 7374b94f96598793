import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { format } from "../Address.js"
import type { Session } from "../Session.js"
import * as SessionConfig from "../SessionConfig.js"
import type { SessionCounters } from "../SessionSnapshot.js"
import type { InvalidConfiguration } from "../WsmuxError.js"

/** The largest window that `--buffer-size` gives: 10 Gbit/s over a round trip of 50 ms. */
export const largestWindow = 64 * 1024 * 1024

/** The settings that the commands give their sessions and transports. */
export const settings = (given: {
  readonly bufferSize: number
  readonly keepAlive: Duration.Duration
}): Layer.Layer<SessionConfig.SessionConfig, InvalidConfiguration> =>
  SessionConfig.layer({
    streamBufferSize: given.bufferSize,
    keepAliveInterval: given.keepAlive,
    // The other end may have any `--buffer-size`, and sends as much before it asks.
    maxPeerWindow: largestWindow,
    // A TCP connection that is left has broken. The sooner credit ends, the sooner the other end learns of it.
    discardLimit: 256 * 1024,
    log: true
  })

/**
 * Waits for the end of a session. Interrupted, it closes it before anything that is going on in it is interrupted:
 * streams that are not at their end are then lost with the session, instead of being left, which their peers could not
 * tell from an end. Either way streams that have ended get some time to hand over what had arrived, as their peers
 * believe it delivered.
 */
export const attend = <A, E, R>(
  waiting: Effect.Effect<A, E, R>,
  session: Pick<Session, "close">,
  streams: Effect.Effect<unknown>
): Effect.Effect<A, E, R> => {
  const delivered = streams.pipe(Effect.interruptible, Effect.timeoutOption(Duration.seconds(5)))
  return waiting.pipe(
    Effect.onInterrupt(() => session.close),
    Effect.ensuring(delivered)
  )
}

/** One line of `--stats`. */
export interface Report extends SessionCounters {
  readonly peer: string
  /** How many streams are alive. */
  readonly streams: number
}

/** Prints a session's counters as JSON whenever they have changed since the last look, of which one is at its end. */
export const report = (session: Session, interval: Option.Option<Duration.Duration>): Effect.Effect<never> => {
  if (Option.isNone(interval)) return Effect.never
  let last = ""
  const look = session.snapshot.pipe(
    Effect.flatMap(({ counters, streams }) => {
      const line: Report = { peer: format(session.remoteAddress), streams: streams.length, ...counters }
      const text = JSON.stringify(line)
      if (text === last) return Effect.void
      last = text
      return Console.log(text)
    })
  )
  return look.pipe(Effect.zipRight(Effect.sleep(interval.value)), Effect.forever, Effect.ensuring(look))
}
