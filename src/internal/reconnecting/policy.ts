import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import { ConnectFailure, SessionClosed, WrongParity } from "../../WsmuxError.js"

export const defaultSchedule: Schedule.Schedule<unknown> = Schedule.exponential(Duration.millis(500)).pipe(
  Schedule.union(Schedule.spaced(Duration.seconds(30))),
  Schedule.jitteredWith({ min: 0, max: 1 })
)

export const isHopeless = (cause: unknown, hasConnected: boolean): boolean => {
  if (cause instanceof ConnectFailure) {
    return cause.reason === "InvalidUrl" || (cause.status !== undefined && isPermanent(cause.status, hasConnected))
  }
  if (cause instanceof SessionClosed && cause.by === "peer") {
    return [1003, 1008, 1010].includes(cause.code) ||
      (cause.code >= 4400 && cause.code < 4500 && isPermanent(cause.code - 4000, false))
  }
  return cause instanceof WrongParity
}

/** Whether a server that answered with this HTTP status would give the same answer again. */
const isPermanent = (status: number, hasConnected: boolean): boolean =>
  hasConnected ? [401, 403, 407].includes(status) : status < 500 && ![408, 425, 429].includes(status)

/** The longest `Retry-After` that is honoured: a date that is wrong by years must not end a program's attempts. */
const maxRetryAfter = Duration.hours(1)

/** How long the server of a failed attempt asks its client to wait. */
export const retryAfterOf = (cause: unknown): Duration.Duration =>
  Duration.min(Duration.millis(cause instanceof ConnectFailure ? cause.retryAfterMillis ?? 0 : 0), maxRetryAfter)
