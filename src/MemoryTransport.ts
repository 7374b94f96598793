/**
 * Two transports joined in memory, to test programs with: time goes by the `Clock`, so `TestClock` drives it, and the
 * faults of a network can be injected.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { opaque } from "./Address.js"
import * as internal from "./internal/transport/memory.js"
import * as SessionConfig from "./SessionConfig.js"
import { Transport } from "./Transport.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How many bytes each direction holds before its sender is not writable. Default 64 KiB. */
  readonly capacity?: number | undefined
  /** How long a message travels. Default none. */
  readonly latency?: Duration.DurationInput | undefined
  /** Default what the default settings of a session need. */
  readonly maxMessageSize?: number | undefined
  /** Whether the ends can ping. Default true; false is what a browser offers. */
  readonly ping?: boolean | undefined
}

/**
 * One of the two ends.
 *
 * @since 0.1.0
 * @category models
 */
export type Side = "client" | "server"

/**
 * Two joined transports, and what can befall the link between them. Which end is called client is a matter of naming.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pair {
  readonly client: Transport
  readonly server: Transport
  /** Loses the connection: what is on its way is lost, and both ends see code 1006. */
  readonly cut: Effect.Effect<void>
  /** From now on nothing that this side sends arrives, until `resume`. It is kept, up to the capacity as for any slow link. */
  readonly stall: (from: Side) => Effect.Effect<void>
  /** Delivers again. */
  readonly resume: (from: Side) => Effect.Effect<void>
  /** A close frame that nobody sent reaches both ends, as from a proxy that goes down. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
}

/**
 * Makes two joined transports. They end with the scope, as a lost connection.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MemoryTransport from "effect-wsmux/MemoryTransport"
 * import * as Session from "effect-wsmux/Session"
 * import { Transport } from "effect-wsmux/Transport"
 *
 * // both ends of a session, in one process and without a network
 * export const sessions = Effect.gen(function*() {
 *   const pair = yield* MemoryTransport.makePair()
 *   const client = yield* Effect.provideService(Session.makeClient(), Transport, pair.client)
 *   const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
 *   return { client, server, pair }
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const makePair = (options: Options = {}): Effect.Effect<Pair, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const settings = {
      now: () => Number(clock.unsafeCurrentTimeNanos()) / 1e6,
      capacity: Math.max(options.capacity ?? 64 * 1024, 1),
      latency: Duration.decode(options.latency ?? Duration.zero),
      maxMessageSize: options.maxMessageSize ?? SessionConfig.maxMessageSize(SessionConfig.defaults),
      ping: options.ping ?? true
    }
    const link = new internal.Link(settings, { client: opaque("memory:client"), server: opaque("memory:server") })
    yield* Effect.forEach(["client", "server"] as const, (from) => Effect.forkScoped(link.deliver(from)))
    yield* Effect.addFinalizer(() => Effect.sync(() => link.cut()))
    return {
      client: link.client,
      server: link.server,
      cut: Effect.sync(() => link.cut()),
      stall: (from) => Effect.sync(() => link.stall(from)),
      resume: (from) => Effect.sync(() => link.resume(from)),
      close: (code, reason) => Effect.sync(() => link.close(code, reason))
    }
  })

/**
 * Provides one end as the `Transport`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (transport: Transport): Layer.Layer<Transport> => Layer.succeed(Transport, transport)
