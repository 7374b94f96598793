/**
 * A session that comes back: dials again whenever the connection is lost, and opens and accepts streams on whichever
 * session there is. Streams of a lost session are lost, and say so.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Subscribable from "effect/Subscribable"
import type * as Types from "effect/Types"
import * as internal from "./internal/reconnecting.js"
import type { MuxStream } from "./MuxStream.js"
import type * as Session from "./Session.js"
import type * as SessionConfig from "./SessionConfig.js"
import type { Transport } from "./Transport.js"
import type { AcceptTimeout, InvalidConfiguration, NotConnected, StreamRefused, TerminalError } from "./WsmuxError.js"

/**
 * A session that comes back. `E` is the type of the failures of its attempts: one that is made has it, the service in a
 * context has `unknown`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReconnectingSession<out E = unknown> {
  /** Where it stands, and every change of it: the read-only side of a `SubscriptionRef`. */
  readonly state: Subscribable.Subscribable<State<E>>

  /** The session there is, or the next one. Fails with `NotConnected` once no more attempts are made. */
  readonly current: Effect.Effect<Session.Session, NotConnected<E>>

  /**
   * Opens a stream of the session there is, or of the next one. A session that ends before the peer has accepted is
   * replaced by the next: nothing of the stream was lost. Fails with `NotConnected` when there was no session for the
   * `openTimeout`, in all, or when no more attempts are made; else as `Session.open`. The scope owns the stream.
   */
  readonly open: Session.Open<AcceptTimeout | StreamRefused | NotConnected<E>>

  /** The next stream that the peer opens, in this session or a later one. The scope owns it. */
  readonly accept: Effect.Effect<MuxStream, NotConnected<E>, Scope.Scope>

  /** What `accept` gives, one after the other, all owned by the scope in which it is run. */
  readonly accepted: Stream.Stream<MuxStream, NotConnected<E>, Scope.Scope>

  /** `Session.run` in every session: handlers of a lost one end by themselves, beside those of the next. */
  readonly run: <E2, R>(
    handler: (stream: MuxStream) => Effect.Effect<unknown, E2, R>
  ) => Effect.Effect<never, NotConnected<E>, Exclude<R, Scope.Scope>>

  /** Closes the session there is, and makes no more attempts. Idempotent; interrupting it does not stop the closing. */
  readonly close: Effect.Effect<void>

  /** Waits until no more attempts are made, and tells why. */
  readonly awaitClosed: Effect.Effect<NotConnected<E>>
}

/**
 * - `Connecting`: the `attempt` since the last session, from 1 on, is being made or waited for; `cause` is what the last
 *   one failed with, or what ended the session.
 * - `Connected`: there is a session.
 * - `Closed`: no more attempts are made.
 *
 * @since 0.1.0
 * @category models
 */
export type State<E = unknown> =
  | { readonly _tag: "Connecting"; readonly attempt: number; readonly cause: E | undefined }
  | { readonly _tag: "Connected"; readonly session: Session.Session }
  | { readonly _tag: "Closed"; readonly cause: NotConnected<E> }

/**
 * The errors and requirements of the credentials, of dialling, of the hook and of the schedule may all differ.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<C, E1, R1, E2, R2, E3, R3, R4> {
  /** Obtained anew for every attempt: tokens expire. */
  readonly credentials?: Effect.Effect<C, E1, R1> | undefined
  /** Dials. The scope ends with the session; the `SessionConfig` in the context holds the session's settings. */
  readonly transport: (credentials: C) => Effect.Effect<Transport, E2, R2 | Scope.Scope>
  /**
   * Runs at every connection before anybody else gets the session, such as to log in over a stream of it. Its scope ends
   * with the session. When it fails the session is closed, and the attempt has failed.
   */
  readonly connected?:
    | ((session: Session.Session, credentials: C) => Effect.Effect<unknown, E3 | TerminalError, R3 | Scope.Scope>)
    | undefined
  /**
   * Decides upon each failed attempt and each lost session whether there is another attempt, and when. It starts anew
   * after a session that has lived for `stableAfter`. What a server asks for by `Retry-After` is waited for, too, at
   * most an hour. Default `defaultSchedule`.
   */
  readonly schedule?: Schedule.Schedule<unknown, Types.NoInfer<E1 | E2 | E3> | TerminalError, R4> | undefined
  /**
   * Decides whether another attempt is in vain after this failure, so that none is made. `hasConnected` tells whether
   * there has been a session. Default `isHopeless`.
   */
  readonly isHopeless?:
    | ((cause: Types.NoInfer<E1 | E2 | E3> | TerminalError, hasConnected: boolean) => boolean)
    | undefined
  /**
   * How long a session must live for the schedule to start anew. Default 30 s, the longest wait of `defaultSchedule`: a
   * server that accepts connections and drops them is dialled no more often than one that refuses them.
   */
  readonly stableAfter?: Duration.DurationInput | undefined
  /** How long an `open` waits for sessions. Default 30 s. */
  readonly openTimeout?: Duration.DurationInput | undefined
  /** Default "client". */
  readonly role?: Session.Session["role"] | undefined
  readonly settings?: SessionConfig.Options | undefined
}

/**
 * Waits up to half a second after the first failure, and up to twice as long after each further one, up to half a
 * minute, without end. Each wait is a random part of that, since many clients of a server that was away must not come
 * back as one.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultSchedule: Schedule.Schedule<unknown> = Schedule.exponential(Duration.millis(500)).pipe(
  Schedule.union(Schedule.spaced(Duration.seconds(30))),
  Schedule.jitteredWith({ min: 0, max: 1 })
)

/**
 * Whether a further attempt would meet the same answer, as far as the failure tells:
 *
 * - an address that is no `ws://` or `wss://` URL, and ends of a session that have the same role;
 * - an HTTP answer from 200 to 499 except 408, 425 and 429. Once there has been a session only 401, 403 and 407, since
 *   a proxy answers 404 while its server restarts;
 * - a session that its peer closed with 1003, 1008 or 1010, or with 4000 + an HTTP status of that kind, such as 4401.
 *
 * Other codes from 4000 on belong to applications, which say by `Options.isHopeless` what they mean.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isHopeless: (cause: unknown, hasConnected: boolean) => boolean = internal.isHopeless

/**
 * The reconnecting session of a program that has one.
 *
 * @since 0.1.0
 * @category context
 */
export const ReconnectingSession: Context.Tag<ReconnectingSession, ReconnectingSession> = Context.GenericTag<
  ReconnectingSession
>("effect-wsmux/ReconnectingSession")

/**
 * Dials in the background, at once; closing the scope closes it. The settings are checked here, not at each attempt.
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
 *     credentials: Config.redacted("TOKEN"),
 *     transport: (token) =>
 *       NodeTransport.connect("wss://relay.example", {
 *         headers: { authorization: `Bearer ${Redacted.value(token)}` }
 *       }),
 *     connected: () => Effect.log("connected")
 *   })
 *   const stream = yield* session.open() // waits for the server
 *   yield* stream.end
 * }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <C = void, E1 = never, R1 = never, E2 = never, R2 = never, E3 = never, R3 = never, R4 = never>(
  options: Options<C, E1, R1, E2, R2, E3, R3, R4>
): Effect.Effect<
  ReconnectingSession<E1 | E2 | E3 | TerminalError>,
  InvalidConfiguration,
  R1 | R2 | R3 | R4 | Scope.Scope
> => internal.makeReconnecting(options, options.schedule ?? defaultSchedule)

/**
 * Provides a `ReconnectingSession`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <C = void, E1 = never, R1 = never, E2 = never, R2 = never, E3 = never, R3 = never, R4 = never>(
  options: Options<C, E1, R1, E2, R2, E3, R3, R4>
): Layer.Layer<ReconnectingSession, InvalidConfiguration, Exclude<R1 | R2 | R3 | R4, Scope.Scope>> =>
  Layer.scoped(ReconnectingSession, make(options))
