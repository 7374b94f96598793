import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import type * as Net from "node:net"
import type * as Tls from "node:tls"
import { format, tcp } from "../Address.js"
import { trackConnections } from "../internal/transport/node/listen.js"
import { ListenFailure } from "../WsmuxError.js"
import { millis } from "./settings.js"

interface Options {
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly tls?: (Tls.SecureContextOptions & Tls.TlsOptions) | undefined
  readonly timeouts?: {
    readonly headers?: Duration.DurationInput | undefined
    readonly request?: Duration.DurationInput | undefined
    readonly keepAlive?: Duration.DurationInput | undefined
  } | undefined
}

interface Listeners {
  readonly onRequest: Http.RequestListener
  readonly onUpgrade: (request: Http.IncomingMessage, socket: Net.Socket, head: Buffer) => void
}

/** Listens. When the scope closes, the server destroys every connection. */
export const listen = (
  { host = "127.0.0.1", port = 0, timeouts = {}, tls }: Options,
  { onRequest, onUpgrade }: Listeners
): Effect.Effect<Http.Server, ListenFailure, Scope.Scope> => {
  const failure = (cause: unknown) => new ListenFailure({ address: format(tcp(host, port)), cause })
  const headersTimeout = millis(timeouts.headers ?? Duration.seconds(10))
  const settings: Http.ServerOptions = {
    headersTimeout,
    requestTimeout: Math.max(headersTimeout, millis(timeouts.request ?? Duration.minutes(5))),
    keepAliveTimeout: millis(timeouts.keepAlive ?? Duration.seconds(65)), // beyond the minute of most balancers
    connectionsCheckingInterval: 500,
    insecureHTTPParser: false,
    requireHostHeader: true
  }
  let destroyConnections = () => {}
  return Effect.acquireRelease(
    Effect.async<Http.Server, ListenFailure>((resume) => {
      const fail = (cause: unknown) => resume(Effect.fail(failure(cause)))
      try {
        const server = tls === undefined ? Http.createServer(settings) : Https.createServer({ ...tls, ...settings })
        destroyConnections = trackConnections(server)
        const addListener = (socket: Net.Socket) => socket.on("error", () => {})
        server.on("connection", addListener).on("secureConnection", addListener)
        server.maxHeadersCount = 0 // Node would drop those beyond 1,000, and the framing of the body with them
        const last = new WeakMap<object, Http.ServerResponse>()
        server.on("request", (request, response) => {
          last.set(request.socket, response)
          onRequest(request, response)
        })
        server.on("upgrade", (request: Http.IncomingMessage, socket: Net.Socket, head: Buffer) => {
          // Node tells of an upgrade at once, where earlier requests of the connection have no answer, too
          if (last.get(socket)?.writableFinished === false) socket.destroy()
          else onUpgrade(request, socket, head)
        })
        server.on("error", fail) // later ones tell of connections that could not be accepted
        server.listen(port, host, () => resume(Effect.succeed(server)))
      } catch (cause) { // Node throws at a port or a certificate that it refuses
        fail(cause)
      }
    }),
    (server) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        destroyConnections() // those that were upgraded, too
      })
  )
}
