/**
 * A listening WebSocket server over the package `ws`, for Node.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Types from "effect/Types"
import type * as Http from "node:http"
import type * as Https from "node:https"
import type * as Tls from "node:tls"
import * as Settings from "./internal/settings/validate.js"
import { defaultUpgradeTimeout } from "./internal/transport/node/handshake.js"
import * as internal from "./internal/transport/node/server.js"
import { resolve } from "./internal/transport/options.js"
import type * as NodeTransport from "./NodeTransport.js"
import type { AllowedOrigins } from "./Origin.js"
import { SharedLimits } from "./SharedLimits.js"
import { type Rejection, type Service, TransportServer } from "./TransportServer.js"
import type { ListenFailure } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<R = never, P = unknown> extends NodeTransport.Options {
  /** The port to listen on; 0 for any free one. Default 0. */
  readonly port?: number | undefined
  /** The address to listen on. Default `127.0.0.1`, which other machines cannot reach. */
  readonly host?: string | undefined
  /** The certificate, the key and other settings to listen with TLS. */
  readonly tls?: Tls.SecureContextOptions & Tls.TlsOptions | undefined
  /** A listening server of yours to attach to. The transport server leaves it running at the end. */
  readonly server?: Http.Server | Https.Server | undefined
  /** The only path that is upgraded. Others get 404, or go to the listeners of an attached server. Default any. */
  readonly path?: string | undefined
  /**
   * The origins of the web pages that may connect; others get 403. Default: pages from the same host and port, and by
   * https where this server uses TLS. Programs send no origin, and are admitted.
   */
  readonly allowedOrigins?: AllowedOrigins
  /**
   * Authorises a client before the upgrade. The success is the `principal` of the connection and of its session. The
   * failure is the HTTP answer, and the server allocates nothing for a refused client. A defect, and a rejection that
   * HTTP cannot carry, are logged and answered with 500. Default: every client is admitted.
   */
  readonly authorize?: ((request: Http.IncomingMessage) => Effect.Effect<P, Rejection, R>) | undefined
  /**
   * Returns headers to add to the answer that completes an upgrade. The client reads them in `Transport.upgrade`.
   * Headers that HTTP cannot carry, and those of the handshake itself, are logged and answered with 500. Default
   * none.
   */
  readonly answerHeaders?:
    | ((request: Http.IncomingMessage, principal: Types.NoInfer<P>) => Readonly<Record<string, string>>)
    | undefined
  /**
   * The most connections of this server; further ones get 503. Default 10,000. The `maxConnections` of the
   * `SharedLimits` bounds all servers of the process together.
   */
  readonly maxConnections?: number | undefined
  /**
   * Runs for each client that is refused before the upgrade, after the answer. A program can log the client and the
   * reason. A malformed handshake is refused with 400 or 405, and a request for another path with 404. A path that no
   * server of this package takes is told to the first of them.
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
 * Listens, and completes with a `TransportServer`, whose `address` has the port. Fails with `ListenFailure`. When the
 * scope closes, the server stops listening and ends its connections.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <R = never, P = undefined>(
  options: Options<R, P> = {}
): Effect.Effect<Service<P>, ListenFailure, R | Scope.Scope> =>
  Effect.flatMap(
    Effect.all([resolve(options), SharedLimits]),
    ([settings, { connections }]) =>
      internal.make({
        ...options,
        ...settings,
        port: options.port ?? 0,
        host: options.host ?? "127.0.0.1",
        maxConnections: Settings.unsafeSize("maxConnections", options.maxConnections ?? 10_000, 0),
        connections,
        upgradeTimeout: Settings.unsafeDuration("upgradeTimeout", options.upgradeTimeout ?? defaultUpgradeTimeout)
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
