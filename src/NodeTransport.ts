/**
 * Transports over the package `ws`, for Node: dialled by `connect`, or made of a WebSocket that was accepted elsewhere.
 *
 * @since 0.1.0
 */
import type * as PlatformSocket from "@effect/platform/Socket"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Net from "node:net"
import type * as Tls from "node:tls"
import { WebSocket } from "ws"
import { redacted } from "./Address.js"
import { unsafeDuration } from "./internal/settings/validate.js"
import { makeDeferred } from "./internal/sync/unowned.js"
import { maxFragments } from "./internal/transport/node/frameReader.js"
import { NodeTransport } from "./internal/transport/node/transport.js"
import * as upgradedSocket from "./internal/transport/node/upgradedSocket.js"
import { resolve } from "./internal/transport/options.js"
import { resumeHeader, Resuming } from "./internal/transport/resuming.js"
import { constructorFailure, isWebSocketUrl } from "./internal/transport/webSocketUrl.js"
import { Transport } from "./Transport.js"
import { ConnectFailure } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The unsent bytes at which the transport stops being writable. Default `Transport.defaultHighWaterMark`. */
  readonly highWaterMark?: number | undefined
  /**
   * The largest message in bytes that the transport lets in. Default: the need of the `SessionConfig` in the context.
   */
  readonly maxMessageSize?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ConnectOptions extends Options {
  /** Headers of the upgrade request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Subprotocols to offer. */
  readonly protocols?: ReadonlyArray<string> | undefined
  /** For `wss://`: authorities to trust, a client certificate, and the like, as for `tls.connect`. */
  readonly tls?: Tls.ConnectionOptions | undefined
  /**
   * The agent that makes the connection, such as one that goes through a proxy. Default: a connection of its own.
   *
   * @since 0.2.0
   */
  readonly agent?: Http.Agent | undefined
  /** How long the TCP connection and the upgrade may take together. Default 10 s. */
  readonly openTimeout?: Duration.DurationInput | undefined
}

/**
 * Dials a WebSocket, and completes when it is open. Fails with `ConnectFailure`, whose `reason` and `status` tell why.
 * Interruption gives the attempt up.
 *
 * The headers of the answer are in `Transport.upgrade`. The connection is terminated when the scope closes; a session
 * over it has closed it properly by then. Per-message compression is off: most bytes of streams are compressed
 * already.
 *
 * @since 0.1.0
 * @category constructors
 */
export const connect = (
  url: string,
  options: ConnectOptions = {}
): Effect.Effect<Transport, ConnectFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const settings = yield* resolve(options)
    const openTimeout = unsafeDuration("openTimeout", options.openTimeout ?? Duration.seconds(10))
    const clock = yield* Effect.clock
    const isResuming = yield* Resuming
    const attempt = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          if (!isWebSocketUrl(url)) throw new SyntaxError() // `ws` accepts http://, too
          const ws = new WebSocket(url, [...options.protocols ?? []], {
            ...attempts,
            ...options.tls,
            headers: isResuming ? { ...options.headers, [resumeHeader]: "1" } : options.headers,
            ...(options.agent === undefined ? {} : { agent: options.agent }),
            perMessageDeflate: false,
            maxPayload: settings.maxMessageSize,
            maxFragments: maxFragments(settings.maxMessageSize)
          })
          // The listeners are attached in this step, since a failure to connect may follow in the next one.
          return { transport: new NodeTransport(ws, "client", settings), opened: watchOpening(ws, url, clock) }
        },
        catch: (cause) => constructorFailure(url, cause)
      }),
      ({ transport }) => transport.terminate
    )
    const { opened, transport } = attempt
    const response = yield* Deferred.await(opened).pipe(
      Effect.timeoutFail({
        duration: openTimeout,
        onTimeout: () => new ConnectFailure({ url: redacted(url), reason: "Timeout" })
      }),
      Effect.onError(() => transport.terminate)
    )
    if (response !== undefined) transport.upgrade = { headers: response.headers }
    transport.connected(response?.socket)
    yield* transport.logSlowPath
    return transport
  })

/**
 * Makes a transport of a WebSocket that a `WebSocketServer` of your own has accepted. The scope owns the WebSocket.
 *
 * Call this in the handler of the `connection` event: messages that arrived before are lost. The transport reads the
 * messages itself, so your own `message` listener receives none. A second transport of the same WebSocket is a defect.
 * So is a WebSocket that this end dialled: use `connect`, or `WebSocketTransport.fromWebSocket`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromWebSocket = (
  ws: WebSocket,
  request: Pick<Http.IncomingMessage, "socket">,
  options: Options = {}
): Effect.Effect<Transport, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.flatMap(resolve(options), (settings) => {
      if ((ws.url as string | undefined) !== undefined) throw new Error(dialled) // the frames would lack their mask
      const transport = new NodeTransport(ws, "server", settings)
      transport.connected(request.socket)
      return Effect.as(transport.logSlowPath, transport)
    }),
    (transport) => transport.terminate
  )

const dialled = "NodeTransport.fromWebSocket: this end dialled the WebSocket, so use WebSocketTransport.fromWebSocket"

/**
 * Makes a transport over the platform `Socket` of an upgraded request, once the socket is open. The scope owns the
 * socket. Fails with the `SocketError` of the upgrade.
 *
 * Call this in the handler of the request, with the socket of `HttpServerRequest.upgrade`. Where the platform's
 * server is Node's, the transport uses the WebSocket from the start: with pings, and with its own limit on messages.
 * Elsewhere it does what `WebSocketTransport.fromSocket` does.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromSocket = (
  socket: PlatformSocket.Socket,
  options: Options = {}
): Effect.Effect<Transport, PlatformSocket.SocketError, Scope.Scope> =>
  Effect.flatMap(resolve(options), (settings) => upgradedSocket.fromSocket(socket, settings))

/**
 * Provides a dialled `Transport`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (url: string, options?: ConnectOptions): Layer.Layer<Transport, ConnectFailure> =>
  Layer.scoped(Transport, connect(url, options))

/**
 * How many milliseconds an attempt to reach one address of a host may take before the next address is tried. With
 * Node's default of 250 a single lost packet fails the attempt, since the kernel sends the packet again after one
 * second.
 */
const attempts = { autoSelectFamilyAttemptTimeout: 2000 }

/**
 * The parts of the answer that are kept for as long as the transport lives. Undefined where the runtime's `ws` tells of
 * none; Bun's tells of one without its socket.
 */
type Answer = { readonly headers: Http.IncomingHttpHeaders; readonly socket: Net.Socket | null } | undefined

const watchOpening = (ws: WebSocket, url: string, clock: Clock.Clock): Deferred.Deferred<Answer, ConnectFailure> => {
  const opened = makeDeferred<Answer, ConnectFailure>()
  const fail = (why: Pick<ConnectFailure, "reason" | "status" | "retryAfterMillis" | "cause">) =>
    Deferred.unsafeDone(opened, Effect.fail(new ConnectFailure({ url: redacted(url), ...why })))
  let answer: Answer
  ws.once("upgrade", ({ headers, socket }) => {
    answer = { headers, socket }
  })
  ws.once("open", () => Deferred.unsafeDone(opened, Effect.succeed(answer)))
  ws.once("unexpected-response", (request, response) => {
    const retryAfterMillis = retryAfter(response.headers, clock.unsafeCurrentTimeMillis())
    fail({
      reason: "Rejected",
      status: response.statusCode,
      ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
    })
    request.destroy()
  })
  ws.once("error", (cause) => fail({ reason: "Unreachable", cause }))
  return opened
}

/**
 * Returns the milliseconds of `Retry-After` (RFC 9110, 10.2.3), which is a number of seconds or a date. The date is
 * compared with that of the server's clock, where the answer has one.
 */
const retryAfter = (headers: Http.IncomingHttpHeaders, now: number): number | undefined => {
  const value = headers["retry-after"]?.trim() ?? ""
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const at = Date.parse(value)
  const serverNow = Date.parse(headers.date ?? "")
  return Number.isNaN(at) ? undefined : Math.max(at - (Number.isNaN(serverNow) ? now : serverNow), 0)
}
