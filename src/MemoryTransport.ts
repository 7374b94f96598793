/**
 * Transports and sessions joined in memory, for tests of programs. `TestClock` drives their time, and a test can
 * inject the faults of a network.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { opaque } from "./Address.js"
import * as Settings from "./internal/settings/validate.js"
import { monotonicMillis } from "./internal/time/clock.js"
import * as internal from "./internal/transport/memory.js"
import * as memoryServer from "./internal/transport/memoryServer.js"
import * as Session from "./Session.js"
import * as SessionConfig from "./SessionConfig.js"
import { Transport } from "./Transport.js"
import type * as TransportServer from "./TransportServer.js"
import type { ConnectFailure, InvalidConfiguration } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The bytes that each direction holds before its sender stops being writable. Default 64 KiB. */
  readonly capacity?: number | undefined
  /** How long a message travels. Default 0. */
  readonly latency?: Duration.DurationInput | undefined
  /** The largest message in bytes. Default: the need of a session with default settings. */
  readonly maxMessageSize?: number | undefined
  /** Whether the ends can ping. Default true; a browser cannot. */
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
 * Two joined transports, and the faults of the link between them. Both ends do the same; their names only tell them
 * apart.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pair {
  readonly client: Transport
  readonly server: Transport
  /** Loses the connection and all packets under way. Both ends receive code 1006. */
  readonly cut: Effect.Effect<void>
  /** Holds back all packets of this side until `resume`. The capacity bounds them, as on any slow link. */
  readonly stall: (from: Side) => Effect.Effect<void>
  /** Delivers the packets of this side again. */
  readonly resume: (from: Side) => Effect.Effect<void>
  /** Delivers a close frame to both ends, as from a proxy that shuts down. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
}

/**
 * Makes two joined transports. When the scope closes, both are lost.
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
      now: () => monotonicMillis(clock),
      capacity: Math.max(Settings.unsafeSize("capacity", options.capacity ?? 64 * 1024, 0), 1),
      latency: Settings.unsafeDuration("latency", options.latency ?? Duration.zero),
      maxMessageSize: Settings.unsafeSize(
        "maxMessageSize",
        options.maxMessageSize ?? Settings.maxMessageSize(SessionConfig.defaults),
        1
      ),
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
 * The settings of the two ends, and those of the link between them.
 *
 * @since 0.2.0
 * @category models
 */
export interface SessionsOptions {
  readonly client?: SessionConfig.PartialSettings | undefined
  readonly server?: SessionConfig.PartialSettings | undefined
  readonly link?: Options | undefined
}

/**
 * Both ends of a session, and the link that joins them.
 *
 * @since 0.2.0
 * @category models
 */
export interface Sessions {
  readonly client: Session.Session
  readonly server: Session.Session
  readonly pair: Pair
}

/**
 * Makes two joined sessions, which close with the scope. The link lets in the messages that the settings of both
 * need. Fails with `InvalidConfiguration` where one of the two would.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MemoryTransport from "effect-wsmux/MemoryTransport"
 *
 * // a stream of a session, in one process and without a network
 * export const streams = Effect.gen(function*() {
 *   const { client, server } = yield* MemoryTransport.makeSessions()
 *   return yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const makeSessions = (
  options: SessionsOptions = {}
): Effect.Effect<Sessions, InvalidConfiguration, Scope.Scope> =>
  Effect.gen(function*() {
    const provided = yield* SessionConfig.SessionConfig
    const needed = [options.client, options.server].map((given) =>
      Settings.maxMessageSize(Settings.merge(provided, given ?? {}))
    )
    const pair = yield* makePair({
      ...options.link,
      maxMessageSize: options.link?.maxMessageSize ?? Math.max(...needed)
    })
    const client = yield* Effect.provideService(Session.makeClient(options.client), Transport, pair.client)
    const server = yield* Effect.provideService(Session.makeServer(options.server), Transport, pair.server)
    return { client, server, pair }
  })

/**
 * The settings of the links of a server, and its authorisation.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServerOptions<R = never, P = unknown> extends Options {
  /**
   * Authorises a request. The success is the principal of the connection, the failure is the status of the answer.
   * Default: every request is admitted.
   */
  readonly authorize?:
    | ((request: TransportServer.UpgradeRequest) => Effect.Effect<P, { readonly status: number }, R>)
    | undefined
}

/**
 * A `TransportServer` whose clients connect in memory.
 *
 * @since 0.2.0
 * @category models
 */
export interface Server<out P = unknown> extends TransportServer.Service<P> {
  /**
   * Connects, and completes with the link, before the server runs its handler. The `client` of the link is the end
   * that dialled. Fails with `ConnectFailure` when the server rejects the request or its scope has closed. The scope
   * owns the link.
   */
  readonly connect: (
    request?: Partial<TransportServer.UpgradeRequest>
  ) => Effect.Effect<Pair, ConnectFailure, Scope.Scope>
}

/**
 * Makes a server for tests of server programs. When its scope closes, its connections end.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MemoryTransport from "effect-wsmux/MemoryTransport"
 * import * as SessionServer from "effect-wsmux/SessionServer"
 *
 * export const rejected = Effect.scoped(Effect.gen(function*() {
 *   const transports = yield* MemoryTransport.makeServer({
 *     authorize: ({ headers }) => headers["x-user"] ? Effect.succeed(headers["x-user"]) : Effect.fail({ status: 401 })
 *   })
 *   const server = yield* SessionServer.fromTransportServer(transports)
 *   yield* Effect.forkScoped(server.run((session) => Effect.log(session.principal)))
 *   yield* transports.connect({ headers: { "x-user": "Ada" } })
 *   return yield* Effect.flip(transports.connect()) // ConnectFailure, with status 401
 * }))
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const makeServer = <R = never, P = undefined>(
  options: ServerOptions<R, P> = {}
): Effect.Effect<Server<P>, never, R | Scope.Scope> =>
  Effect.flatMap(SessionConfig.SessionConfig, (config) => {
    const maxMessageSize = options.maxMessageSize ?? Settings.maxMessageSize(config)
    return memoryServer.makeServer({ ...options, maxMessageSize }, makePair({ ...options, maxMessageSize }))
  })

/**
 * Provides one end as the `Transport`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (transport: Transport): Layer.Layer<Transport> => Layer.succeed(Transport, transport)
