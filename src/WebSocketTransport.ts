/**
 * Transports over a standard `WebSocket` (browsers, Deno, Bun, Node 22) or over a `Socket` of `@effect/platform`.
 *
 * This module runs everywhere and imports nothing of Node. A program on Node dials faster by `NodeTransport`.
 *
 * Browsers cannot ping. A session in a page pings by records of the dialect where the peer speaks it. Elsewhere a page
 * learns of a dead network from its browser, and the server's keep-alive ends the session at the server.
 *
 * @since 0.1.0
 */
import * as PlatformSocket from "@effect/platform/Socket"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { unsafeDuration } from "./internal/settings/validate.js"
import * as internal from "./internal/transport/connect.js"
import { resolve } from "./internal/transport/options.js"
import * as platformSocket from "./internal/transport/platformSocket.js"
import { Transport } from "./Transport.js"
import type { ConnectFailure } from "./WsmuxError.js"

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
  /** How long the WebSocket may take to open. Default 10 s. */
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
 * Dials with the `WebSocketConstructor` in the context: `Socket.layerWebSocketConstructorGlobal` for the platform's
 * own. Fails with `ConnectFailure`; browsers do not tell why.
 *
 * A standard WebSocket has no pings, so a session over it has a keep-alive only where the peer speaks the dialect. The
 * server's pings keep the path open. A WebSocket of the package `ws` (`NodeSocket.layerWebSocketConstructor`) has
 * pings, and the session uses them.
 *
 * The WebSocket reads a message whole before the transport can refuse it, so the WebSocket's own limit bounds the
 * memory for one message: 128 MiB for Node's, 100 MiB for that of `ws`. A session with larger windows over Node's
 * fails with `InvalidConfiguration`.
 *
 * The session's `closeTimeout` bounds closing, also when the peer does not answer. In a browser, and on Node for a
 * connection that a `fetch` made before, the platform then holds the socket until the peer or the network ends TCP.
 * Node's process does not exit meanwhile. `NodeTransport` has no such case.
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
    return yield* dial(
      url,
      () => construct(url, options.protocols === undefined ? undefined : [...options.protocols]),
      options
    )
  })

/**
 * Makes a transport over a standard `WebSocket`, once that is open. The scope owns the WebSocket. Fails with
 * `ConnectFailure` when the WebSocket does not open.
 *
 * Call this in the turn in which the WebSocket was made: messages that arrived before are lost. For a WebSocket that
 * the package `ws` has accepted use `NodeTransport.fromWebSocket`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromWebSocket = (
  ws: globalThis.WebSocket,
  options: Options = {}
): Effect.Effect<Transport, ConnectFailure, Scope.Scope> =>
  dial((ws.url as string | null | undefined) ?? "", () => ws, options)

/**
 * Makes a transport over a platform `Socket` that carries a WebSocket, once the socket is open. The scope owns the
 * socket. Fails with the `SocketError` of the socket.
 *
 * A platform `Socket` shows its WebSocket with the first message. Until then a session sends opening frames only and
 * has no keep-alive. The WebSocket's own limit bounds the memory for one message.
 *
 * On Node, use `NodeTransport.fromSocket` in the handler of an upgraded request: that transport uses the WebSocket
 * from the start, and refuses a message that is too large by its header.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSocket = (
  socket: PlatformSocket.Socket,
  options: Options = {}
): Effect.Effect<Transport, PlatformSocket.SocketError, Scope.Scope> =>
  Effect.flatMap(resolve(options), (settings) => platformSocket.fromSocket(socket, settings))

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

const dial = (url: string, construct: () => globalThis.WebSocket, options: Options) =>
  Effect.flatMap(resolve(options), (settings) =>
    internal.connect(url, construct, {
      ...settings,
      openTimeout: unsafeDuration("openTimeout", options.openTimeout ?? Duration.seconds(10))
    }))
