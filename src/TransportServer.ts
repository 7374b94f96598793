/**
 * Where transports come from on the side that is dialled.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.js"
import type { Transport, UpgradeHeaders } from "./Transport.js"

/**
 * Why an upgrade is refused: the HTTP answer that the client gets. The status is one from 200 to 599. The message is
 * sent as plain text unless a header says otherwise.
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
 * A request for a WebSocket, as its client sent it.
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
 * How a connection came about.
 *
 * @since 0.2.0
 * @category models
 */
export interface Connection<out P = unknown> {
  readonly request: UpgradeRequest
  /** The value with which the server's `authorize` let the client in; undefined where a server has none. */
  readonly principal: P
}

/**
 * A listening server. `P` is the type of the principals: a server that is made has it, the service in a context has
 * `unknown`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransportServer<out P = unknown> {
  readonly address: Address
  /** The largest message in bytes that its transports let in. */
  readonly maxMessageSize: number
  /**
   * Runs the handler for every connection, each in a fiber and a scope of its own, until interrupted; interruption ends
   * the connections. A handler that fails ends its connection, not the server. Connections that come before `run` wait
   * for it.
   */
  readonly run: <E, R>(
    handler: (transport: Transport, connection: Connection<P>) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<never, never, Exclude<R, Scope.Scope>>
}

/**
 * @since 0.1.0
 * @category context
 */
export const TransportServer: Context.Tag<TransportServer, TransportServer> = Context.GenericTag<TransportServer>(
  "effect-wsmux/TransportServer"
)
