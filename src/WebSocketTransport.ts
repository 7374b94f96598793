/**
 * Transports over a standard `WebSocket` (browsers, Deno, Bun, Node 22) or over a `Socket` of `@effect/platform`, so that a
 * route of an `HttpServer` can become a session.
 *
 * @since 0.1.0
 */
import * as PlatformSocket from "@effect/platform/Socket"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { fromSocket as fromPlatformSocket } from "./internal/transport/platformSocket.js"
import * as internal from "./internal/transport/standard.js"
import * as SessionConfig from "./SessionConfig.js"
import { SharedLimits } from "./SharedLimits.js"
import { defaultHighWaterMark, Transport } from "./Transport.js"
import type { ConnectFailure } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Unsent bytes from which on the transport is not writable. Default `Transport.defaultHighWaterMark`. */
  readonly highWaterMark?: number | undefined
  /** The largest message let in. Default what the `SessionConfig` in the context needs. */
  readonly maxMessageSize?: number | undefined
  /** How long it may take to open. Default 10 s. */
  readonly openTimeout?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ConnectOptions extends Options {
  /** Subprotocols to offer. */
  readonly protocols?: ReadonlyArray<string> | undefined
}

/**
 * Dials with the `WebSocketConstructor` in the context: `Socket.layerWebSocketConstructorGlobal` for the platform's own.
 *
 * Node's WebSocket lets in messages of up to 128 MiB, so a session with larger windows fails with `InvalidConfiguration`.
 *
 * Closing is bounded by the session's `closeTimeout`, also when the peer does not answer. In a browser, and on Node for a
 * connection that a `fetch` had made before, the platform then holds the socket until the peer or the network ends TCP; Node's
 * process does not exit meanwhile. `NodeTransport` has no such case.
 *
 * There is no ping in a browser, so a session there has no keep-alive of its own; the pings of its server keep the path
 * open all the same. Fails with `ConnectFailure`; browsers do not tell why.
 *
 * @since 0.1.0
 * @category constructors
 */
export const connect = (
  url: string,
  options: ConnectOptions = {}
): Effect.Effect<Transport, ConnectFailure, PlatformSocket.WebSocketConstructor | Scope.Scope> =>
  Effect.gen(function*() {
    const construct = yield* PlatformSocket.WebSocketConstructor
    const settings = yield* resolve(options)
    return yield* internal.connect(
      url,
      () => construct(url, options.protocols === undefined ? undefined : [...options.protocols]),
      settings
    )
  })

/**
 * A transport over a standard `WebSocket` that is connecting or open. Messages that came before this call are lost, so
 * call it in the turn in which the socket was made. The scope owns the socket.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromWebSocket = (
  ws: globalThis.WebSocket,
  options: Options = {}
): Effect.Effect<Transport, ConnectFailure, Scope.Scope> =>
  Effect.flatMap(
    resolve(options),
    (settings) => internal.connect((ws.url as string | null | undefined) ?? "", () => ws, settings)
  )

/**
 * A transport over a platform `Socket` that carries a WebSocket, such as `HttpServerRequest.upgrade` gives. The scope owns
 * it. Fails with the `SocketError` of the upgrade.
 *
 * The transport reads from and writes to the WebSocket of an upgraded request directly from the start: with back-pressure and
 * pings, and with its own limit of a message. Call `fromSocket` in the handler of that request for this.
 *
 * Any other platform `Socket` shows its WebSocket to its first message only, and so does that of a server which is not Node's.
 * Until then a session sends opening frames only, has no keep-alive, and the first message may be as large as the WebSocket
 * was made for.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSocket = (
  socket: PlatformSocket.Socket,
  options: Options = {}
): Effect.Effect<Transport, PlatformSocket.SocketError, Scope.Scope> =>
  Effect.flatMap(resolve(options), (settings) => fromPlatformSocket(socket, settings))

/**
 * Provides a dialled `Transport`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  url: string,
  options?: ConnectOptions
): Layer.Layer<Transport, ConnectFailure, PlatformSocket.WebSocketConstructor> =>
  Layer.scoped(Transport, connect(url, options))

const resolve = (options: Options): Effect.Effect<internal.Settings> =>
  Effect.map(Effect.all([SessionConfig.SessionConfig, SharedLimits]), ([config, { partialMessages }]) => ({
    partialMessages,
    highWaterMark: Math.max(options.highWaterMark ?? defaultHighWaterMark, 1),
    maxMessageSize: options.maxMessageSize ?? SessionConfig.maxMessageSize(config),
    openTimeout: Duration.decode(options.openTimeout ?? Duration.seconds(10))
  }))
