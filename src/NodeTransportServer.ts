/**
 * A listening WebSocket server over the package `ws`, for Node.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Types from "effect/Types"
import type * as Http from "node:http"
import type * as Https from "node:https"
import type * as Tls from "node:tls"
import * as Settings from "./internal/settings/validate.js"
import * as internal from "./internal/transport/node/server.js"
import type * as NodeTransport from "./NodeTransport.js"
import type { AllowedOrigins } from "./Origin.js"
import * as SessionConfig from "./SessionConfig.js"
import { SharedLimits } from "./SharedLimits.js"
import { defaultHighWaterMark } from "./Transport.js"
import { type Rejection, TransportServer } from "./TransportServer.js"
import type { ListenFailure } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<R = never, P = unknown> extends NodeTransport.Options {
  /** The port to listen on; 0 for any free one. Default 0. */
  readonly port?: number | undefined
  /** The address to listen on. Default `127.0.0.1`: what shall be reached from outside must be told so. */
  readonly host?: string | undefined
  /** The certificate and key, and the like, to listen with TLS. */
  readonly tls?: Tls.SecureContextOptions & Tls.TlsOptions | undefined
  /** A listening server of yours to attach to, instead of one of our own; it is left running at the end. */
  readonly server?: Http.Server | Https.Server | undefined
  /** The only path that is upgraded; others get 404, or are left to the listeners of an attached server. Default any. */
  readonly path?: string | undefined
  /**
   * The origins of the web pages that may connect; others get 403. Default: pages from the same host and port, and by
   * https where this server speaks TLS. Programs, which send no origin, are not concerned.
   */
  readonly allowedOrigins?: AllowedOrigins
  /**
   * Decides before the upgrade who may come in. Its success is the `principal` of the connection and of its session. A
   * failure with a `Rejection` is the HTTP answer, and nothing is allocated for the stranger. A defect, and a rejection
   * that HTTP cannot carry, are logged and answer 500. Default everybody.
   */
  readonly authorize?: ((request: Http.IncomingMessage) => Effect.Effect<P, Rejection, R>) | undefined
  /**
   * Gives headers to add to the answer that completes an upgrade; the client reads them in `Transport.upgrade`. Headers
   * that HTTP cannot carry, and those of the handshake itself, are logged and answer 500. Default none.
   */
  readonly answerHeaders?:
    | ((request: Http.IncomingMessage, principal: Types.NoInfer<P>) => Readonly<Record<string, string>>)
    | undefined
  /**
   * How many connections this server may have; further ones get 503. Default 10,000, within the `maxConnections` of the
   * `SharedLimits` for all servers of the process.
   */
  readonly maxConnections?: number | undefined
  /**
   * Runs whenever a client is refused before the upgrade, such as to log which one and why. The client does not wait for it.
   *
   * @since 0.2.0
   */
  readonly onRejected?:
    | ((rejection: Rejection, request: Http.IncomingMessage) => Effect.Effect<unknown, never, R>)
    | undefined
  /** How long an authorisation may take. Default 10 s. */
  readonly upgradeTimeout?: Duration.DurationInput | undefined
}

/**
 * Listens, and answers with a `TransportServer` whose `address` tells the port. Fails with `ListenFailure`. When the scope
 * closes, it stops listening and the connections end.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <R = never, P = undefined>(
  options: Options<R, P> = {}
): Effect.Effect<TransportServer<P>, ListenFailure, R | Scope.Scope> =>
  Effect.flatMap(
    Effect.all([SessionConfig.SessionConfig, SharedLimits]),
    ([config, { connections, partialMessages }]) =>
      internal.make({
        ...options,
        highWaterMark: Math.max(options.highWaterMark ?? defaultHighWaterMark, 1),
        maxMessageSize: options.maxMessageSize ?? Settings.maxMessageSize(config),
        port: options.port ?? 0,
        host: options.host ?? "127.0.0.1",
        maxConnections: options.maxConnections ?? 10_000,
        connections,
        partialMessages,
        upgradeTimeout: Duration.decode(options.upgradeTimeout ?? Duration.seconds(10))
      })
  )

/**
 * Provides a listening `TransportServer`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <R = never, P = undefined>(
  options?: Options<R, P>
): Layer.Layer<TransportServer, ListenFailure, R> =>
  Layer.scoped(TransportServer, make(options)) as Layer.Layer<TransportServer, ListenFailure, R>
