/**
 * Where transports come from on the side that is dialled.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.js"
import type { Transport } from "./Transport.js"

/**
 * A listening server.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransportServer {
  readonly address: Address
  /** The largest message in bytes that its transports let in. */
  readonly maxMessageSize: number
  /**
   * Runs the handler for every connection, each in a fiber and a scope of its own, until interrupted; interruption ends
   * the connections. A handler that fails ends its connection, not the server. Connections that come before `run` wait
   * for it.
   */
  readonly run: <E, R>(
    handler: (transport: Transport) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<never, never, Exclude<R, Scope.Scope>>
}

/**
 * @since 0.1.0
 * @category context
 */
export const TransportServer: Context.Tag<TransportServer, TransportServer> = Context.GenericTag<TransportServer>(
  "effect-wsmux/TransportServer"
)
