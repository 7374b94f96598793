import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import type { Rejection } from "../TransportServer.js"
import * as Endpoint from "./endpoint.js"

/** Strangers can knock as often as they like, and must not fill a disk: one line in this time tells of them. */
const interval = 1_000_000_000n // nanoseconds of the monotonic clock

/** Logs which clients are refused and why, at most one each second; a line tells how many had none. */
export const make = () => {
  let quietUntil = 0n
  let silent = 0
  return (rejection: Rejection, request: Http.IncomingMessage): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeNanos, (now) => {
      if (now < quietUntil) {
        silent++
        return Effect.void
      }
      const before = silent === 0 ? "" : ` (${silent} more before)`
      silent = 0
      quietUntil = now + interval
      return Effect.logWarning(
        `refused ${peerOf(request)}: ${rejection.status}, ${reason(rejection, request)}${before}`
      )
    })
}

const peerOf = ({ socket: { remoteAddress: host, remotePort: port } }: Http.IncomingMessage): string =>
  host === undefined || port === undefined ? "a client that has gone" : Endpoint.format({ host, port })

const reason = ({ message, status }: Rejection, { headers }: Http.IncomingMessage): string => {
  if (status === 401) return headers.authorization === undefined ? "it shows no token" : "its token is another one"
  return message ?? Http.STATUS_CODES[status] ?? "refused"
}
