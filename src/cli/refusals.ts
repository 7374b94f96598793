import type * as Effect from "effect/Effect"
import * as Http from "node:http"
import type { Rejection } from "../TransportServer.js"
import * as Endpoint from "./endpoint.js"
import * as RareWarning from "./rareWarning.js"

/** Logs refused clients with the reason. */
export const make = () => {
  const warn = RareWarning.make()
  return (rejection: Rejection, request: Http.IncomingMessage): Effect.Effect<void> =>
    warn(() => `refused ${peerOf(request)}: ${rejection.status}, ${reason(rejection, request)}`)
}

const peerOf = ({ socket: { remoteAddress: host, remotePort: port } }: Http.IncomingMessage): string =>
  host === undefined || port === undefined ? "a disconnected client" : Endpoint.format({ host, port })

const reason = ({ message, status }: Rejection, { headers }: Http.IncomingMessage): string => {
  if (status === 401) return headers.authorization === undefined ? "no token" : "wrong token"
  return message ?? Http.STATUS_CODES[status] ?? "refused"
}
