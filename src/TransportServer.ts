/**
 * Servers of transports: one for each WebSocket that a client dials.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.js"
import type { Transport, UpgradeHeaders } from "./Transport.js"

/**
 * The HTTP answer to a refused upgrade. The status is from 200 to 599. The message is sent as plain text unless a
 * header names another type.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rejection {
  readonly status: number
  readonly message?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * The client's request for a WebSocket.
 *
 * @since 0.2.0
 * @category models
 */
export interface UpgradeRequest {
  /** The path and the query. */
  readonly url: string
  readonly headers: UpgradeHeaders
}

/**
 * The request of a connection, and the principal of its client.
 *
 * @since 0.2.0
 * @category models
 */
export interface Connection<out P = unknown> {
  readonly request: UpgradeRequest
  /** The success of the server's `authorize`; undefined where the server has none. */
  readonly principal: P
}

/**
 * A listening server. `P` is the type of the principals. The service in a context has `unknown`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service<out P = unknown> {
  readonly address: Address
  /** The largest message in bytes that its transports let in. */
  readonly maxMessageSize: number
  /**
   * Runs the handler for every connection, each in a fiber and a scope of its own. Never completes; interruption ends
   * the connections. A handler that fails ends its own connection only. Connections that come before `run` wait for
   * it.
   */
  readonly run: <E, R>(
    handler: (transport: Transport, connection: Connection<P>) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<never, never, Exclude<R, Scope.Scope>>
  /**
   * Takes no further connections, and gives up the port where the server has one of its own, so that another process
   * can listen there. Connections with a handler go on. Requests that still come get 503 with `Retry-After`, and so do
   * those that wait for `run`. Idempotent, and never waits for a connection.
   *
   * @since 0.2.0
   */
  readonly stopAccepting: Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category context
 */
export class TransportServer extends Context.Tag("effect-wsmux/TransportServer")<TransportServer, Service>() {}
