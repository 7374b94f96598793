/**
 * The accepting end of sessions that survive the loss of their WebSocket (see `ResumableTransport`).
 *
 * A session that has lost its WebSocket is suspended: its handler and its streams go on, and wait for the client. The
 * client proves by a secret token that the session is its own. `authorize` runs for every WebSocket, and the principal
 * of a later one must be that of the first.
 *
 * A page cannot tell in its request that it resumes. Its connection begins a session, whose handler runs, and which
 * ends with code 1000 when the first message of the page names another session.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Equivalence from "effect/Equivalence"
import * as Scope from "effect/Scope"
import { bare, makeSessions } from "./internal/resume/accept.js"
import { defaultMaxKept } from "./internal/resume/keptMessages.js"
import * as Settings from "./internal/settings/validate.js"
import { SharedLimits } from "./SharedLimits.js"
import type { Transport } from "./Transport.js"
import type * as TransportServer from "./TransportServer.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface Options<in P = unknown> {
  /** How long a session waits for its client. Default 2 minutes; 10 s at most for one that was never heard. */
  readonly grace?: Duration.DurationInput | undefined
  /** The bytes of unacknowledged messages at which the writes of a session wait. Default 4 MiB. */
  readonly maxKeptBytes?: number | undefined
  /**
   * The same for all sessions together. Beyond it, the sessions that were suspended first are given up, and each other
   * session may keep an equal part of half as much. Default 64 MiB.
   */
  readonly maxKeptBytesInAll?: number | undefined
  /**
   * The most suspended sessions. Beyond it, the one that was suspended first is given up, and before it those whose
   * client was never heard. Suspended sessions count as connections: beyond the `maxConnections` of the `SharedLimits`,
   * a session that begins takes the place of such a one. Default 1,000.
   */
  readonly maxSuspended?: number | undefined
  /** The same for each principal. Has no effect on sessions without a principal. Default 100. */
  readonly maxSuspendedPerPrincipal?: number | undefined
  /** Whether two principals are the same. Default `Equal.equals`: two plain objects differ unless they are one. */
  readonly samePrincipal?: Equivalence.Equivalence<P> | undefined
}

/**
 * The sessions of a server that can be resumed.
 *
 * @since 0.2.0
 * @category models
 */
export interface ResumeServer<P = unknown> {
  /** How many sessions wait for their clients. */
  readonly suspended: Effect.Effect<number>
  /**
   * Serves a connection: begins a session, which runs the handler with a transport that survives the connection, or
   * hands the connection to the session that its client resumes. Completes when the connection is left. Interruption
   * ends the session that uses the connection.
   */
  readonly accept: <E, R>(
    transport: Transport,
    connection: TransportServer.Connection<P>,
    handler: (transport: Transport, connection: TransportServer.Connection<P>) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<void, never, Exclude<R, Scope.Scope>>
}

/**
 * Makes the accepting end of resumable sessions. When the scope closes, the sessions end.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <P = unknown>(options: Options<P> = {}): Effect.Effect<ResumeServer<P>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const size = (name: "maxKeptBytesInAll" | "maxSuspended" | "maxSuspendedPerPrincipal", fallback: number) =>
      Settings.unsafeSize(name, options[name] ?? fallback, 0)
    const clock = yield* Effect.clock
    const { connections } = yield* SharedLimits
    const sessions = yield* makeSessions<P>({
      graceMillis: Duration.toMillis(Settings.unsafeDuration("grace", options.grace ?? Duration.minutes(2))),
      maxKeptBytes: Settings.unsafeSize("maxKeptBytes", options.maxKeptBytes ?? defaultMaxKept, 1),
      maxKeptBytesInAll: size("maxKeptBytesInAll", 64 * 1024 * 1024),
      maxSuspended: size("maxSuspended", 1000),
      maxSuspendedPerPrincipal: size("maxSuspendedPerPrincipal", 100),
      samePrincipal: options.samePrincipal ?? Equal.equals,
      connections,
      now: () => clock.unsafeCurrentTimeMillis()
    })
    return {
      suspended: Effect.sync(() => sessions.suspended),
      accept: (transport, connection, handler) => sessions.accept(transport, connection, handler)
    }
  })

/**
 * Makes the sessions of a server resumable: `run` calls its handler with transports that survive their connection, and
 * its interruption ends the suspended sessions, too. `SessionServer` does the same by its option `resume`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const over = <P>(
  server: TransportServer.Service<P>,
  options: Options<P> = {}
): TransportServer.Service<P> => ({
  ...server,
  get address() {
    return server.address
  },
  run: <E, R>(
    handler: (transport: Transport, connection: TransportServer.Connection<P>) => Effect.Effect<unknown, E, R>
  ) =>
    Effect.acquireUseRelease(
      Scope.make(),
      (scope): Effect.Effect<never, never, Exclude<R, Scope.Scope>> =>
        Effect.flatMap(Scope.extend(make(options), scope), (sessions) =>
          server.run(bare((transport, connection) =>
            sessions.accept(transport, connection, handler as AnyHandler<P, R>)
          ))),
      (scope, exit) =>
        Scope.close(scope, exit)
    )
})

/** A handler whose scope is provided by `accept`. */
type AnyHandler<P, R> = (
  transport: Transport,
  connection: TransportServer.Connection<P>
) => Effect.Effect<unknown, unknown, Exclude<R, Scope.Scope>>
