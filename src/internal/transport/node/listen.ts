import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import type * as Net from "node:net"
import type * as Tls from "node:tls"
import { type Address, format, opaque, tcp, unix } from "../../../Address.js"
import { ListenFailure } from "../../../WsmuxError.js"

interface Settings {
  readonly host: string
  readonly port: number
  readonly tls?: Tls.SecureContextOptions & Tls.TlsOptions | undefined
  readonly upgradeTimeout: Duration.Duration
}

/** A server that listens. */
export interface Listening {
  readonly server: Http.Server | Https.Server
  /** Gives up the port. Ends silent connections after `upgradeTimeout`, since Node no longer checks their time-outs. */
  readonly stop: Effect.Effect<void>
}

/** Listens for upgrade requests, and answers all others with 426. Destroys every connection when the scope closes. */
export const listen = (settings: Settings): Effect.Effect<Listening, ListenFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const server = yield* open(settings)
    const endSilent = Effect.sync(() => server.closeAllConnections()) // spares those that were upgraded
    const stop = Effect.suspend(() => {
      if (!server.listening) return Effect.void
      server.close()
      return endSilent.pipe(Effect.delay(settings.upgradeTimeout), Effect.interruptible, Effect.forkIn(scope))
    })
    return { server, stop: Effect.asVoid(stop) }
  })

const open = (settings: Settings): Effect.Effect<Http.Server | Https.Server, ListenFailure, Scope.Scope> => {
  const failure = (cause: unknown) => new ListenFailure({ address: format(tcp(settings.host, settings.port)), cause })
  return Effect.try({ try: () => createServer(settings), catch: failure }).pipe(
    Effect.flatMap((server) => {
      const destroyConnections = trackConnections(server)
      return Effect.acquireRelease(
        Effect.async<Http.Server | Https.Server, ListenFailure>((resume) => {
          const fail = (cause: unknown) => resume(Effect.fail(failure(cause)))
          // A listening server emits an error for a connection that it cannot accept. Its other connections go on.
          server.on("error", fail)
          try {
            server.listen(settings.port, settings.host, () => resume(Effect.succeed(server)))
          } catch (cause) { // Node throws at an invalid port
            fail(cause)
          }
        }),
        (server) =>
          Effect.async<void>((resume) => {
            server.close(() => resume(Effect.void))
            destroyConnections()
          })
      )
    })
  )
}

/** Returns the address of a listening server. */
export const addressOf = (server: Net.Server): Address => {
  const address = server.address()
  if (address === null) return opaque("not listening")
  return typeof address === "string" ? unix(address) : tcp(address.address, address.port)
}

/** Returns a function that destroys every connection. Node's own misses a connection within its TLS handshake. */
export const trackConnections = (server: Net.Server): () => void => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket: Net.Socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

/** Throws at TLS settings that Node refuses. */
const createServer = (settings: Settings): Http.Server | Https.Server => {
  const timeout = Math.min(Math.ceil(Duration.toMillis(settings.upgradeTimeout)), maxTimer)
  const timeouts = {
    headersTimeout: timeout,
    handshakeTimeout: timeout,
    requestTimeout: Math.max(timeout, 300_000), // Node's default, and never below `headersTimeout`, which Node refuses
    connectionsCheckingInterval: 1000
  }
  const upgradeOnly: Http.RequestListener = (_request, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket" }).end("this is a WebSocket server\n")
  }
  return settings.tls === undefined
    ? Http.createServer(timeouts, upgradeOnly)
    : Https.createServer({ ...settings.tls, ...timeouts }, upgradeOnly)
}

/** Node fires a timer with a longer delay after one millisecond. */
const maxTimer = 2 ** 31 - 1
