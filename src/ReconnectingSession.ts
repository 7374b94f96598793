/**
 * A session that reconnects: it dials again whenever its connection is lost. Streams are opened on the current session.
 * The streams of a lost session fail.
 *
 * When the peer drains a session, such as a server that restarts, the next session is dialled first. Streams that run
 * go on in the old session until they are over.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Subscribable from "effect/Subscribable"
import type * as Types from "effect/Types"
import * as internal from "./internal/reconnecting/make.js"
import * as policy from "./internal/reconnecting/policy.js"
import type { MuxStream } from "./MuxStream.js"
import * as Session from "./Session.js"
import type * as SessionConfig from "./SessionConfig.js"
import type { Transport } from "./Transport.js"
import type {
  AcceptTimeout,
  InvalidConfiguration,
  NotConnected,
  SessionDraining,
  StreamRefused,
  TerminalError
} from "./WsmuxError.js"

/**
 * A session that reconnects. `E` is the type of the failures of its attempts. The service in a context has `unknown`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service<out E = unknown> {
  /** The state and its changes: the read-only side of a `SubscriptionRef`. */
  readonly state: Subscribable.Subscribable<State<E>>

  /** Completes with the current session, or with the next. Fails with `NotConnected` once no more attempts are made. */
  readonly current: Effect.Effect<Session.Session, NotConnected<E>>

  /**
   * Opens a stream on the current session, or on the next. Where a session ends or drains before the peer has accepted
   * the stream, the next session opens the stream: no byte was lost. The scope owns the stream.
   *
   * Fails with `NotConnected` when all waits for sessions together reach `openTimeout`, and when no more attempts are
   * made. Other failures are those of `Session.open`.
   */
  readonly open: Session.Open<AcceptTimeout | StreamRefused | NotConnected<E>>

  /**
   * Accepts the next stream that the peer opens, on the current session, on one that drains, or on a later one. The
   * scope owns the stream. Fails with `NotConnected` once no more attempts are made and no session drains.
   */
  readonly accept: Effect.Effect<MuxStream, NotConnected<E>, Scope.Scope>

  /** Repeats `accept`. The scope in which it runs owns all streams. */
  readonly accepted: Stream.Stream<MuxStream, NotConnected<E>, Scope.Scope>

  /**
   * Runs the handler by `Session.run` on each session. The handlers of a lost session run on until they end by
   * themselves. Fails with `NotConnected` once no more attempts are made and all sessions and handlers have ended.
   */
  readonly run: <E2, R>(
    handler: (stream: MuxStream) => Effect.Effect<unknown, E2, R>
  ) => Effect.Effect<never, NotConnected<E>, Exclude<R, Scope.Scope>>

  /** Closes all sessions, and stops the attempts. Idempotent. Interrupting it leaves the closing running. */
  readonly close: Effect.Effect<void>

  /** Completes with the reason once no more attempts are made. Sessions that drain may still have streams. */
  readonly awaitClosed: Effect.Effect<NotConnected<E>>
}

/**
 * - `Connecting`: an attempt is being made, or waits for its turn. `attempt` counts from 1 since the last session.
 *   `cause` is the failure of the last attempt, or why the last session is not used any more.
 * - `Connected`: there is a session.
 * - `Closed`: no more attempts are made.
 *
 * `draining` are the earlier sessions that take no new streams, and go on until their streams are over.
 *
 * @since 0.1.0
 * @category models
 */
export type State<E = unknown> =
  & (
    | { readonly _tag: "Connecting"; readonly attempt: number; readonly cause: E | undefined }
    | { readonly _tag: "Connected"; readonly session: Session.Session }
    | { readonly _tag: "Closed"; readonly cause: NotConnected<E> }
  )
  & { readonly draining: ReadonlyArray<Session.Session> }

/**
 * Why another session is needed: the last one has ended, or takes no new streams.
 *
 * @since 0.2.0
 * @category errors
 */
export type Loss = TerminalError | SessionDraining

/**
 * The options of `make`. `E1` and `R1` are those of `transport`, `E2` and `R2` those of `onConnect`, `R3` is that of
 * `schedule`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E1, R1, E2, R2, R3> {
  /**
   * Dials. It is run anew for each attempt, so credentials that it reads are fresh. The `SessionConfig` in its context
   * holds the session's settings. Its scope ends with the session.
   */
  readonly transport: Effect.Effect<Transport, E1, R1 | Scope.Scope>
  /**
   * Runs on each new session before the session is used otherwise, for example to log in over a stream. Its scope ends
   * with the session. A failure closes the session, and counts as a failed attempt.
   */
  readonly onConnect?:
    | ((session: Session.Session) => Effect.Effect<unknown, E2 | TerminalError, R2 | Scope.Scope>)
    | undefined
  /**
   * Decides after each failed attempt and each lost session whether and when there is another attempt. The schedule
   * starts anew after a session that has lived for `stableAfter`. The wait that a server asks for by `Retry-After` is
   * added, up to an hour. Default `defaultSchedule`.
   *
   * When a session drains and its peer wants to be dialled now, the attempt follows without the schedule. Only the
   * first time, and once for each session that has lived for `stableAfter`: a server that sends each session away is
   * dialled by the schedule.
   *
   * A schedule with an input type of its own needs a `transport` whose type TypeScript infers first: from a constant,
   * or from `effect.pipe(Effect.flatMap(...))`.
   */
  readonly schedule?: Schedule.Schedule<unknown, Types.NoInfer<E1 | E2> | Loss, R3> | undefined
  /**
   * Decides whether the failure would repeat at each further attempt, so that no more are made. `hasConnected` tells
   * whether there has been a session. Default `isHopeless`, which a decision of your own can call.
   *
   * The cause is `unknown`, as that of `isHopeless`. With a narrower type TypeScript would infer the failures of
   * `transport` and `onConnect` only in some orders of the options.
   */
  readonly isHopeless?: ((cause: unknown, hasConnected: boolean) => boolean) | undefined
  /**
   * The time that a session must live for the schedule to start anew. Default 30 s, the longest wait of
   * `defaultSchedule`: a server that drops each connection is dialled as rarely as a server that refuses each.
   */
  readonly stableAfter?: Duration.DurationInput | undefined
  /** The time that an `open` waits for sessions. Default 30 s. */
  readonly openTimeout?: Duration.DurationInput | undefined
  /** Default "client". */
  readonly role?: Session.Session["role"] | undefined
  readonly settings?: SessionConfig.PartialSettings | undefined
}

/**
 * Waits up to 0.5 s after the first failure, and up to twice as long after each further one, up to 30 s, without end.
 * Each wait is a random part of that, so that the clients of a server that was away return at different times.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultSchedule: Schedule.Schedule<unknown> = policy.defaultSchedule

/**
 * Whether a further attempt would fail in the same way, as far as the failure tells:
 *
 * - the address is no `ws://` or `wss://` URL, or both ends of the session have the same role;
 * - the HTTP status of the answer is from 200 to 499, except 408, 425 and 429. After a first session only 401, 403 and
 *   407 count, since a proxy answers 404 while its server restarts;
 * - the peer closed the session with 1003, 1008 or 1010, or with 4000 + an HTTP status of that kind, such as 4401.
 *
 * Other codes from 4000 on belong to applications, which state their meaning by `Options.isHopeless`.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isHopeless: (cause: unknown, hasConnected: boolean) => boolean = policy.isHopeless

/**
 * The reconnecting session of a program that has one.
 *
 * @since 0.1.0
 * @category context
 */
export class ReconnectingSession extends Context.Tag("effect-wsmux/ReconnectingSession")<
  ReconnectingSession,
  Service
>() {}

/**
 * Makes a session that reconnects, and starts to dial in the background. Closing the scope closes it.
 *
 * Fails with `InvalidConfiguration` before the first attempt.
 *
 * @example
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 *
 * export const main = Effect.scoped(Effect.gen(function*() {
 *   const session = yield* ReconnectingSession.make({
 *     // reads the token anew for each attempt
 *     transport: Effect.flatMap(Config.redacted("TOKEN"), (token) =>
 *       NodeTransport.connect("wss://relay.example", {
 *         headers: { authorization: `Bearer ${Redacted.value(token)}` }
 *       })),
 *     onConnect: (session) => Effect.log("connected to", session.remoteAddress)
 *   })
 *   const stream = yield* session.open() // waits for the server
 *   yield* stream.end
 * }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: <E1, R1, E2 = never, R2 = never, R3 = never>(
  options: Options<E1, R1, E2, R2, R3>
) => Effect.Effect<
  Service<E1 | E2 | Loss>,
  InvalidConfiguration,
  R1 | R2 | R3 | Scope.Scope
> = internal.makeReconnecting

/**
 * The services that `layer` provides, all of the same session.
 *
 * @since 0.2.0
 * @category models
 */
export type Services = ReconnectingSession | Session.StreamOpener | Session.StreamAcceptor

/**
 * Provides a `ReconnectingSession`, also as `StreamOpener` and `StreamAcceptor`, which adapters take.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E1, R1, E2 = never, R2 = never, R3 = never>(
  options: Options<E1, R1, E2, R2, R3>
): Layer.Layer<Services, InvalidConfiguration, Exclude<R1 | R2 | R3, Scope.Scope>> =>
  Layer.scopedContext(Effect.map(make(options), (session) =>
    Context.make(ReconnectingSession, session).pipe(
      Context.add(Session.StreamOpener, session),
      Context.add(Session.StreamAcceptor, session)
    )))
