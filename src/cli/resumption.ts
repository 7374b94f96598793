import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { redacted } from "../Address.js"
import type { ResumptionState } from "../ResumableTransport.js"
import type { ConnectFailure } from "../WsmuxError.js"
import { messageOf } from "./proxy.js"
import { formatSpan } from "./span.js"

/** The first wait in milliseconds until the log tells again that there is no WebSocket. Each further one is doubled. */
const firstWait = 5000

export interface Telling {
  /** The state of the connection and its changes. */
  readonly changes: Stream.Stream<ResumptionState>
  readonly url: string
  readonly grace: Duration.Duration
  /** The failure of the last attempt to dial, if any. */
  readonly lastFailure: () => ConnectFailure | undefined
}

/** Logs each loss of the WebSocket and its end, and in between at growing intervals that the connections wait. */
export const tell = ({ changes, grace, lastFailure, url }: Telling): Effect.Effect<void> => {
  const address = redacted(url)
  let lostAt: number | undefined
  const waiting = (since: number) =>
    Effect.gen(function*() {
      for (let wait = firstWait;; wait *= 2) {
        yield* Effect.sleep(wait)
        const millis = (yield* Clock.currentTimeMillis) - since
        const left = formatSpan(seconds(Math.max(Duration.toMillis(grace) - millis, 0)))
        const failure = lastFailure()
        const why = failure === undefined ? `no WebSocket to ${address}` : messageOf(failure)
        yield* Effect.logWarning(
          `${why}; the connections have waited for ${formatSpan(seconds(millis))}, ${left} more at most`
        )
      }
    })
  const tellOf = (state: ResumptionState) =>
    Effect.gen(function*() {
      if (state._tag === "Suspended") {
        lostAt = state.since
        yield* Effect.logWarning(`lost the WebSocket to ${address}; the connections wait while it is dialled again`)
        return yield* waiting(state.since)
      }
      if (state._tag === "Connected" && lostAt !== undefined) {
        const millis = (yield* Clock.currentTimeMillis) - lostAt
        yield* Effect.logInfo(`resumed the connections through ${address} after ${formatSpan(Duration.millis(millis))}`)
      }
    })
  return Stream.runDrain(Stream.flatMap(changes, (state) => Stream.fromEffect(tellOf(state)), { switch: true }))
}

const seconds = (millis: number): Duration.Duration => Duration.seconds(Math.round(millis / 1000))
