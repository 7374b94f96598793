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

/** The size up to which windows grow: 1 Gbit/s over 30 ms. A connection that nothing reads holds up to as much. */
const grownWindow = 4 * 1024 * 1024

/** The connections that one client may have open at once. */
export const maxStreams = 8192

/** The configuration of the commands' sessions and transports. `others` go before those of the commands. */
export const settings = (given: {
  readonly bufferSize: number
  readonly keepAlive: Duration.Duration
}, others: SessionConfig.PartialSettings = {}): Layer.Layer<SessionConfig.SessionConfig, InvalidConfiguration> =>
  SessionConfig.layer({
    streamBufferSize: given.bufferSize,
    // Windows grow by the round trip, which pings measure. Peers that want no pings keep their windows.
    ...(Duration.isFinite(given.keepAlive) ? { maxStreamBufferSize: Math.max(given.bufferSize, grownWindow) } : {}),
    keepAliveInterval: given.keepAlive,
    // The other end may have any `--buffer-size`, and may send as many bytes before the first credit.
    maxPeerWindow: largestWindow,
    // A handler leaves a stream only when its TCP connection has broken. The other end notices when its credit ends.
    discardLimit: 256 * 1024,
    maxStreams,
    // Forwards are labels, and resets pass through. Other peers get Go's wire.
    dialect: "auto",
    log: true,
    ...others
  })

/**
 * Waits for the end of a session. Interruption closes the session before its streams: a peer sees open streams as
 * lost with the session, where a stream that is merely left would look like an end. Streams that have ended get up to
 * 5 s in both cases to deliver the bytes that had arrived, because their peers believe them delivered.
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
  /** The streams that are open. */
  readonly streams: number
}

/** Prints the counters of a session as a line of JSON at each interval and at its end, if they have changed. */
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
