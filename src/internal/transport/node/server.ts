import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import { type WebSocket, WebSocketServer } from "ws"
import { type Address, format, opaque, tcp, unix } from "../../../Address.js"
import type { Options } from "../../../NodeTransportServer.js"
import { isAllowed } from "../../../Origin.js"
import type { Budget } from "../../../SharedLimits.js"
import type { Transport } from "../../../Transport.js"
import type { Connection, Rejection, TransportServer } from "../../../TransportServer.js"
import { ListenFailure } from "../../../WsmuxError.js"
import { Notify } from "../../sync/notify.js"
import type { Settings as TransportSettings } from "../options.js"
import { maxFragments } from "./frameReader.js"
import { rejectionFault, rejectionText, upgradeFault } from "./httpAnswer.js"
import { NodeTransport } from "./transport.js"

type Settings<R, P> = Options<R, P> & TransportSettings & {
  readonly port: number
  readonly host: string
  readonly maxConnections: number
  readonly connections: Budget
  readonly upgradeTimeout: Duration.Duration
}

/** Takes the connection's facts out of the upgrade when it starts, so that none of its frames keeps them. */
type Handler<P> = (transport: Transport, upgrade: Upgrade<P>) => Effect.Effect<unknown>

/** A request to upgrade, with the socket it came on. */
interface Upgrade<P> {
  /** Let go of once it is granted: a session lives long, and headers may be large. */
  request: Http.IncomingMessage | undefined
  /** From the admission until the handler starts. */
  connection?: Connection<P> | undefined
  readonly socket: Net.Socket
  head: Buffer | undefined
}

/** How many upgrades may wait for `run`; more get 503. */
const maxWaiting = 128

export const make = <R, P>(
  settings: Settings<R, P>
): Effect.Effect<TransportServer<P>, ListenFailure, R | Scope.Scope> =>
  Effect.gen(function*() {
    const server = settings.server ?? (yield* listen(settings))
    const upgrader = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      clientTracking: false,
      maxPayload: settings.maxMessageSize,
      maxFragments: maxFragments(settings.maxMessageSize)
    })
    upgrader.on("headers", addHeaders)
    const connections = yield* FiberSet.make<void>()
    const fork = yield* FiberSet.runtime(connections)<R>()
    let handler: Handler<P> | undefined
    let waiting = 0
    const handlers = new Notify()

    const awaitHandler = Effect.suspend(() => {
      if (waiting >= maxWaiting) return Effect.fail<Rejection>({ status: 503 })
      waiting++
      return handlers.waitUntil(() => handler === undefined ? undefined : Effect.succeed(handler)).pipe(
        Effect.ensuring(Effect.sync(() => waiting--))
      )
    })
    const hasRoom = Effect.filterOrFail(
      FiberSet.size(connections),
      (size) => size < settings.maxConnections, // this one is not yet among them
      (): Rejection => ({ status: 503, message: "there are too many connections" })
    )
    /** A place among the connections of all servers of this process, for as long as the upgrade and the connection last. */
    const takePlace = Effect.acquireRelease(
      Effect.suspend(() =>
        settings.connections.take(1)
          ? Effect.void
          : Effect.fail<Rejection>({ status: 503, message: "there are too many connections" })
      ),
      () => Effect.sync(() => settings.connections.giveBack(1))
    )
    const admit = (upgrade: Upgrade<P>) =>
      Effect.gen(function*() {
        yield* Effect.zipRight(hasRoom, takePlace)
        const principal = yield* authorize(settings, upgrade.request!)
        const headers = yield* answerHeaders(settings, upgrade.request!, principal)
        upgrade.connection = { principal, request: factsOf(upgrade.request!) }
        return { headers, handle: yield* awaitHandler }
      })
    const serve = (upgrade: Upgrade<P>) =>
      Effect.suspend(() => admit(upgrade)).pipe(
        Effect.onInterrupt(() => Effect.sync(() => upgrade.socket.destroy())),
        Effect.matchCauseEffect({
          onFailure: (cause) =>
            Effect.zipRight(turnAway(upgrade.socket, cause), tell(settings, upgrade.request!, cause)),
          onSuccess: ({ handle, headers }) =>
            Effect.flatMap(
              accept(upgrader, upgrade, headers, settings),
              (transport) =>
                transport === undefined
                  ? Effect.void
                  : Effect.zipRight(transport.logSlowPath, handle(transport, upgrade))
            )
        }),
        Effect.scoped,
        Effect.asVoid
      )
    const onUpgrade = (request: Http.IncomingMessage, socket: Net.Socket, head: Buffer) => {
      // Without a listener an early error of a stranger's socket would be thrown.
      socket.on("error", ignoreError)
      if (concerns(settings.path, request)) {
        fork(serve({ request, socket, head }))
      } else if (isFirstOfNone(server, onUpgrade, request)) {
        answer(socket, { status: 404 })
      }
    }
    paths.set(onUpgrade, settings.path)
    yield* Effect.acquireRelease(
      Effect.sync(() => server.on("upgrade", onUpgrade)),
      () => Effect.sync(() => server.off("upgrade", onUpgrade))
    )

    const run = <E, R2>(
      handle: (transport: Transport, connection: Connection<P>) => Effect.Effect<unknown, E, R2>
    ) =>
      Effect.acquireUseRelease(
        Effect.map(Effect.context<R2>(), (context) => {
          // A scope of its own: the context has one, too, which is that of whoever runs the server.
          handler = (transport, upgrade) => {
            const start = Effect.suspend(() => {
              const connection = upgrade.connection!
              upgrade.connection = undefined
              return handle(transport, connection)
            })
            return contained(Effect.provide(Effect.scoped(start), context))
          }
          handlers.notifyAll()
        }),
        () => Effect.never,
        () =>
          Effect.suspend(() => {
            handler = undefined
            return FiberSet.clear(connections)
          })
      )
    return {
      maxMessageSize: settings.maxMessageSize,
      get address() {
        return addressOf(server)
      },
      run: run as TransportServer<P>["run"]
    }
  })

/** The paths that our listeners are for. */
const paths = new WeakMap<object, string | undefined>()

const concerns = (path: string | undefined, request: Http.IncomingMessage): boolean =>
  path === undefined || pathOf(request) === path

/** Whether a request concerns nobody, and this listener is the one to say so: all are ours, and it is the first. */
const isFirstOfNone = (server: Net.Server, listener: object, request: Http.IncomingMessage): boolean => {
  const listeners = server.listeners("upgrade")
  return listeners[0] === listener &&
    listeners.every((other) => paths.has(other) && !concerns(paths.get(other), request))
}

/** A handler's failure ends its connection and nothing else. */
const contained = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.catchAllCause(
    Effect.asVoid(effect),
    (cause) =>
      Cause.isInterruptedOnly(cause) ? Effect.void : Effect.logDebug("the handler of a connection failed", cause)
  )

const listen = <R, P>(
  settings: Settings<R, P>
): Effect.Effect<Http.Server | Https.Server, ListenFailure, Scope.Scope> => {
  const failure = (cause: unknown) => new ListenFailure({ address: format(tcp(settings.host, settings.port)), cause })
  return Effect.try({ try: () => createServer(settings), catch: failure }).pipe(
    Effect.flatMap((server) => {
      const hangUp = trackConnections(server)
      return Effect.acquireRelease(
        Effect.async<Http.Server | Https.Server, ListenFailure>((resume) => {
          // A server that listens tells of connections that it cannot accept; the others go on.
          server.on("error", (cause) => resume(Effect.fail(failure(cause))))
          server.listen(settings.port, settings.host, () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.async<void>((resume) => {
            server.close(() => resume(Effect.void))
            hangUp()
          })
      )
    })
  )
}

/** Ends every connection, those too that have not come through their TLS handshake: Node knows of none of these. */
const trackConnections = (server: Net.Server): () => void => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket: Net.Socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

/** Node takes longer timers for one millisecond. */
const longestTimer = 2 ** 31 - 1

/** Throws when the TLS settings make no sense. */
const createServer = <R, P>(settings: Settings<R, P>): Http.Server | Https.Server => {
  const patience = Math.min(Math.ceil(Duration.toMillis(settings.upgradeTimeout)), longestTimer)
  const timeouts = {
    headersTimeout: patience,
    handshakeTimeout: patience,
    requestTimeout: Math.max(patience, 300_000), // Node refuses less than the headers have; its default otherwise
    connectionsCheckingInterval: 1000
  }
  const upgradeOnly: Http.RequestListener = (_request, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket" }).end("this is a WebSocket server\n")
  }
  return settings.tls === undefined
    ? Http.createServer(timeouts, upgradeOnly)
    : Https.createServer({ ...settings.tls, ...timeouts }, upgradeOnly)
}

/** Without `authorize` there is no type for principals to have but that of undefined. */
const authorize = <R, P>(
  { allowedOrigins, authorize, upgradeTimeout }: Settings<R, P>,
  request: Http.IncomingMessage
): Effect.Effect<P, Rejection, R> =>
  !isAllowed(request.headers, allowedOrigins, request.socket instanceof Tls.TLSSocket)
    ? Effect.fail({ status: 403, message: "pages from other origins may not connect" })
    : authorize === undefined
    ? Effect.succeed(undefined as P)
    : Effect.timeoutFail(Effect.suspend(() => authorize(request)), {
      duration: upgradeTimeout,
      onTimeout: (): Rejection => ({ status: 503, message: "the authorisation took too long" })
    })

/** Headers that cannot be sent are a fault of this program, so a defect. */
const answerHeaders = <R, P>(settings: Settings<R, P>, request: Http.IncomingMessage, principal: P) =>
  Effect.sync(() => {
    const headers = settings.answerHeaders?.(request, principal) ?? {}
    const fault = upgradeFault(headers)
    if (fault !== undefined) throw new Error(`cannot answer an upgrade: ${fault}`)
    return headers
  })

/** Without the request itself, which holds on to its socket. */
const factsOf = ({ headers, url }: Http.IncomingMessage): Connection<never>["request"] => ({ headers, url: url ?? "/" })

/** Headers of an answer 101, by the request that it answers. */
const extraHeaders = new WeakMap<Http.IncomingMessage, Readonly<Record<string, string>>>()

const addHeaders = (lines: Array<string>, request: Http.IncomingMessage): void => {
  for (const [name, value] of Object.entries(extraHeaders.get(request) ?? {})) lines.push(`${name}: ${value}`)
}

/** Upgrades, or answers the client why not and gives none. */
const accept = <P>(
  upgrader: WebSocketServer,
  upgrade: Upgrade<P>,
  headers: Readonly<Record<string, string>>,
  settings: TransportSettings
): Effect.Effect<NodeTransport | undefined, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { head, request, socket } = upgrade
      let accepted: NodeTransport | undefined
      extraHeaders.set(request!, headers)
      // Calls back before it returns, or answers an invalid request by itself and never calls back.
      upgrader.handleUpgrade(request!, socket, head!, (ws: WebSocket) => {
        accepted = new NodeTransport(ws, "server", settings)
        accepted.connected(socket)
      })
      upgrade.request = upgrade.head = undefined
      return accepted
    }),
    (accepted) => accepted?.terminate ?? Effect.void
  )

/** Tells the program of a refusal. */
const tell = <R, P>(
  { onRejected }: Pick<Settings<R, P>, "onRejected">,
  request: Http.IncomingMessage,
  cause: Cause.Cause<Rejection>
): Effect.Effect<unknown, never, R> => {
  const failure = Cause.failureOption(cause)
  return onRejected === undefined || failure._tag === "None" ? Effect.void : onRejected(failure.value, request)
}

const turnAway = (socket: Net.Socket, cause: Cause.Cause<Rejection>): Effect.Effect<void> => {
  const failure = Cause.failureOption(cause)
  const fault = failure._tag === "Some" ? rejectionFault(failure.value) : undefined
  if (failure._tag === "Some" && fault === undefined) return Effect.sync(() => answer(socket, failure.value))
  return Effect.zipRight(
    fault === undefined
      ? Effect.logError("an authorisation failed", cause)
      : Effect.logError(`cannot answer with the rejection of an authorisation: ${fault}`),
    Effect.sync(() => answer(socket, { status: 500 }))
  )
}

const answer = (socket: Net.Socket, rejection: Rejection): void => {
  socket.once("finish", () => socket.destroy())
  socket.end(rejectionText(rejection))
}

const pathOf = (request: Http.IncomingMessage): string => (request.url ?? "/").split("?", 1)[0]!

const addressOf = (server: Net.Server): Address => {
  const address = server.address()
  if (address === null) return opaque("not listening")
  return typeof address === "string" ? unix(address) : tcp(address.address, address.port)
}

const ignoreError = (): void => {}
