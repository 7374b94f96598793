/**
 * A route that upgrades to a session, on the same port as the other routes of an `HttpServer`.
 *
 * @since 0.1.0
 */
import type * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { SocketError } from "@effect/platform/Socket"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { SessionGroup } from "./internal/session/group.js"
import { resolve } from "./internal/settings/resolve.js"
import { duration, maxMessageSize } from "./internal/settings/validate.js"
import { defaultUpgradeTimeout, isHandshake } from "./internal/transport/node/handshake.js"
import { resumeHeader } from "./internal/transport/resuming.js"
import * as NodeTransport from "./NodeTransport.js"
import * as Origin from "./Origin.js"
import type * as ResumeServer from "./ResumeServer.js"
import * as Session from "./Session.js"
import type * as SessionConfig from "./SessionConfig.js"
import { SharedLimits } from "./SharedLimits.js"
import { Transport } from "./Transport.js"
import type { InvalidConfiguration } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<R, P = unknown> extends NodeTransport.Options {
  /**
   * The origins of the web pages that may connect; other pages get 403. Default: pages from the same host and port.
   * Programs send no origin, and may connect.
   */
  readonly allowedOrigins?: Origin.AllowedOrigins
  /**
   * Authorises the client before the upgrade. Its success is the `principal` of the session. Its failure is the answer.
   * Default: every client may connect.
   */
  readonly authorize?:
    | ((
      request: HttpServerRequest.HttpServerRequest
    ) => Effect.Effect<P, HttpServerResponse.HttpServerResponse, R>)
    | undefined
  /**
   * How long an authorisation may take. A slower one is interrupted, and the client gets 503. Default 10 s.
   *
   * @since 0.2.0
   */
  readonly upgradeTimeout?: Duration.DurationInput | undefined
  readonly settings?: SessionConfig.PartialSettings | undefined
  /**
   * Lets sessions outlive the loss of their WebSocket. The value holds the sessions of all requests, so make it once,
   * by `ResumeServer.make`. The handler then goes on after the loss of its connection.
   *
   * @since 0.2.0
   */
  readonly resume?: ResumeServer.ResumeServer<P> | undefined
}

/**
 * Makes an `HttpApp` that upgrades its request to a session in the server role, and runs the handler with the session.
 *
 * The session is closed when the handler returns or fails. A failure is logged at debug level. When the connection is
 * lost, the handler is interrupted, as every handler of a platform server is.
 *
 * A request for no WebSocket gets 426, and a malformed handshake 400. A request beyond the `maxConnections` of the
 * `SharedLimits` gets 503. Give the server to `guard`, which protects its other routes.
 *
 * @example
 * ```ts
 * import * as HttpRouter from "@effect/platform/HttpRouter"
 * import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SessionRoute from "effect-wsmux/SessionRoute"
 *
 * const echo = SessionRoute.make(
 *   (session) => session.run((stream) => Stream.run(stream.readable, stream.writable)),
 *   {
 *     allowedOrigins: ["https://app.example"],
 *     authorize: ({ headers }) =>
 *       headers.authorization === "Bearer let-me-in"
 *         ? Effect.void
 *         : Effect.fail(HttpServerResponse.empty({ status: 401 })),
 *     settings: { streamBufferSize: 256 * 1024 }
 *   }
 * )
 *
 * export const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("an ordinary route")),
 *   HttpRouter.get("/streams", echo)
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, R, R2 = never, P = unknown>(
  handler: (session: Session.Session<P>) => Effect.Effect<unknown, E, R>,
  options: Options<R2, P> = {}
): Route<R | R2> => Effect.flatMap(SessionGroup.make, (sessions) => route(sessions, handler, options))

/**
 * An `HttpApp` that upgrades its request to a session.
 *
 * @since 0.2.0
 * @category models
 */
export type Route<R> = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  InvalidConfiguration | HttpServerError.RequestError | SocketError,
  Exclude<HttpServerRequest.HttpServerRequest | R, Scope.Scope>
>

/**
 * A route whose sessions drain together.
 *
 * @since 0.2.0
 * @category models
 */
export interface Drainable<R> {
  readonly route: Route<R>
  /**
   * Takes no more sessions, and drains those of the route, as `SessionServer.drain` does. Requests that still come get
   * 503 with `Retry-After`, unless they tell that they resume a session, as those of `NodeTransport` do. The program
   * closes the port itself, since the other routes share it.
   */
  readonly drain: (options?: Session.DrainOptions) => Effect.Effect<void>
}

/**
 * Makes the route of `make`, and the drain of all its sessions.
 *
 * @example
 * ```ts
 * import * as HttpRouter from "@effect/platform/HttpRouter"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SessionRoute from "effect-wsmux/SessionRoute"
 *
 * // the program runs `shutDown` before it closes its HTTP server
 * export const app = Effect.gen(function*() {
 *   const { drain, route } = yield* SessionRoute.makeDrainable((session) =>
 *     session.run((stream) => Stream.run(stream.readable, stream.writable))
 *   )
 *   return { app: HttpRouter.get(HttpRouter.empty, "/streams", route), shutDown: drain({ grace: "20 seconds" }) }
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const makeDrainable = <E, R, R2 = never, P = unknown>(
  handler: (session: Session.Session<P>) => Effect.Effect<unknown, E, R>,
  options: Options<R2, P> = {}
): Effect.Effect<Drainable<R | R2>> =>
  Effect.map(SessionGroup.make, (sessions) => ({
    route: route(sessions, handler, options),
    drain: (options) => sessions.drain(options, Effect.void) // the route asks the group before it upgrades
  }))

const route = <E, R, R2, P>(
  sessions: SessionGroup,
  handler: (session: Session.Session<P>) => Effect.Effect<unknown, E, R>,
  options: Options<R2, P>
): Route<R | R2> =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const socket = socketOf(request)
    const markUpgraded = socket && hasNoListener(request) ? guardSocket(socket) : undefined
    const settings = yield* resolve(options.settings)
    const upgradeTimeout = yield* duration("upgradeTimeout", options.upgradeTimeout ?? defaultUpgradeTimeout)
    if (request.headers.upgrade?.toLowerCase() !== "websocket") {
      return HttpServerResponse.empty({ status: 426, headers: { upgrade: "websocket" } })
    }
    const mayResume = options.resume !== undefined && request.headers[resumeHeader] !== undefined
    if (sessions.isDraining && !mayResume) return draining
    if (!isHandshake(request)) {
      return HttpServerResponse.empty({ status: 400, headers: { "sec-websocket-version": "13" } })
    }
    if (!Origin.isAllowed(request.headers, options.allowedOrigins, socket?.encrypted)) {
      return HttpServerResponse.empty({ status: 403 })
    }
    const verdict = yield* Effect.either(authorize(options, upgradeTimeout, request))
    if (verdict._tag === "Left") return verdict.left
    const isDraining = sessions.isDraining
    if (isDraining && !mayResume) return draining

    const { connections } = yield* SharedLimits
    const hasPlace = yield* Effect.acquireRelease(
      Effect.sync(() => connections.take(1)),
      (hasPlace) => Effect.sync(() => hasPlace && connections.giveBack(1))
    )
    if (!hasPlace) return HttpServerResponse.empty({ status: 503 })

    // The client has disconnected, so `request.upgrade` would never complete.
    if (socket && !(socket.readable && socket.writable)) return HttpServerResponse.empty({ status: 400 })
    markUpgraded?.()
    keepPathAlive(socket, settings)
    const transport = yield* Effect.flatMap(request.upgrade, (socket) =>
      NodeTransport.fromSocket(socket, {
        ...options,
        maxMessageSize: options.maxMessageSize ?? maxMessageSize(settings)
      }))
    const principal = verdict.right
    const serve = (transport: Transport) => {
      // a client that began a session nevertheless would prolong the drain
      if (isDraining) return transport.close(1013, "the server takes no more sessions", "1 second")
      return sessions.join(Session.makeServer(settings)).pipe(
        Effect.provideService(Transport, transport),
        Effect.flatMap((session) => handler(Session.withPrincipal(session, principal))),
        Effect.catchAll((error) => Effect.logDebug("cannot go on with a session: its handler failed", error))
      )
    }
    const { headers, url } = request
    yield* options.resume === undefined
      ? serve(transport)
      : options.resume.accept(transport, { principal, request: { headers, url } }, serve)
    return HttpServerResponse.empty() // not sent, since the connection is a WebSocket
  }).pipe(Effect.scoped)

const draining = HttpServerResponse.text("the server takes no more sessions", {
  status: 503,
  headers: { "retry-after": "1" }
})

/** Without `authorize` the type of the principals is that of undefined. */
const authorize = <R, P>(
  { authorize }: Options<R, P>,
  timeout: Duration.Duration,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<P, HttpServerResponse.HttpServerResponse, R> =>
  authorize === undefined
    ? Effect.succeed(undefined as P)
    : Effect.timeoutFail(Effect.suspend(() => authorize(request)), {
      duration: timeout,
      onTimeout: () => HttpServerResponse.text("the authorisation took too long", { status: 503 })
    })

/**
 * Adds an error listener to each connection of a server, so that a lost connection does not end the process. Returns
 * the server.
 *
 * Node leaves the socket of an upgrade request to its upgrade handler, without an error listener. The platform's server
 * adds none. A socket error there would be thrown, and end the process. `SessionRoute.make` adds a listener on its own
 * route only.
 *
 * @example
 * ```ts
 * import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
 * import * as SessionRoute from "effect-wsmux/SessionRoute"
 * import { createServer } from "node:http"
 *
 * export const Server = NodeHttpServer.layer(() => SessionRoute.guard(createServer()), { port: 3000 })
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const guard = <Server extends Guardable>(server: Server): Server => {
  const addListener = (socket: { readonly on: (event: "error", listener: () => void) => unknown }) => {
    socket.on("error", ignoreError)
  }
  server.on("connection", addListener)
  server.on("secureConnection", addListener)
  return server
}

/**
 * A server whose connections can be guarded: a server of `node:http` or of `node:https`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Guardable {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- Node's overloads lack a general signature
  readonly on: (event: any, listener: (socket: any) => void) => unknown
}

const ignoreError = (): void => {}

/** The members of a request's TCP socket that are used here. Servers other than Node's may show no socket. */
interface Socket {
  readonly setKeepAlive: (on: boolean, millis: number) => void
  readonly on: (event: "error", listener: () => void) => void
  readonly once: (event: "finish", listener: () => void) => void
  readonly destroy: () => void
  readonly readable: boolean
  readonly writable: boolean
  /** True for a TLS socket. */
  readonly encrypted?: boolean
}

const socketOf = ({ source }: HttpServerRequest.HttpServerRequest): Socket | undefined => {
  const { socket } = source as { readonly socket?: Partial<Socket> }
  return ["setKeepAlive", "on", "once", "destroy"].every((name) => typeof socket?.[name as keyof Socket] === "function")
    ? socket as Socket
    : undefined
}

/** Whether Node leaves the socket of the request, without an error listener, to an upgrade. */
const hasNoListener = ({ headers }: HttpServerRequest.HttpServerRequest): boolean =>
  headers.upgrade !== undefined &&
  (headers.connection ?? "").toLowerCase().split(",").some((name) => name.trim() === "upgrade")

/**
 * Guards a socket that Node leaves to an upgrade. An error without a listener would end the process, and a refused
 * client could keep its connection open. Returns a function that marks the socket as upgraded.
 */
const guardSocket = (socket: Socket): () => void => {
  let isUpgraded = false
  socket.on("error", ignoreError)
  socket.once("finish", () => {
    if (!isUpgraded) socket.destroy()
  })
  return () => {
    isUpgraded = true
  }
}

/** Lets TCP detect a peer that vanishes before its first message, where the server shows no WebSocket until then. */
const keepPathAlive = (socket: Socket | undefined, settings: SessionConfig.Settings): void => {
  const { keepAliveInterval } = settings
  const millis = Duration.toMillis(Schedule.isSchedule(keepAliveInterval) ? Duration.seconds(10) : keepAliveInterval)
  if (Number.isFinite(millis)) socket?.setKeepAlive(true, millis)
}
