/**
 * Many streams over one WebSocket.
 *
 * A session is made over a `Transport`, in one of two roles. The role decides only which ids its streams get; the two
 * ends must have different ones, whoever dialled.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Address } from "./Address.js"
import * as internal from "./internal/session/make.js"
import type { MuxStream } from "./MuxStream.js"
import type * as SessionConfig from "./SessionConfig.js"
import type { SessionSnapshot } from "./SessionSnapshot.js"
import type { Transport } from "./Transport.js"
import type {
  AcceptError,
  DuplicateStream,
  InvalidConfiguration,
  NotConnected,
  OpenError,
  TerminalError
} from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = internal.TypeId

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * A session. Closing the scope that made it closes it. `P` is the type of its principal.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session<out P = unknown> {
  readonly [TypeId]: TypeId

  /** The peer, as the server's `authorize` answered; undefined where there is none, as on the end that dialled. */
  readonly principal: P

  readonly role: "client" | "server"

  readonly localAddress: Address

  readonly remoteAddress: Address

  /**
   * Opens a stream in the caller's scope. Completes when the peer accepts the stream. At most `maxUnacknowledgedOpens`
   * opens of the session are unanswered at once; further ones wait in turn.
   *
   * Fails with `StreamRefused` when the peer refuses the stream, with `AcceptTimeout` when the peer has not answered
   * `streamAcceptDeadline` after the call, with the terminal error when the session ends, and with `DuplicateStream`
   * when the `id` asked for is taken. Interruption gives the open up: the session answers a late acceptance with FIN.
   */
  readonly open: Open<OpenError>

  /**
   * The next stream that the peer opened. The scope owns it. Fails with what ended the session. Interrupted, it takes
   * no stream. A stream that its opener gave up while it waited is never handed out.
   */
  readonly accept: Effect.Effect<MuxStream, AcceptError, Scope.Scope>

  /** What `accept` gives, one after the other, all owned by the scope in which it is run. */
  readonly accepted: Stream.Stream<MuxStream, AcceptError, Scope.Scope>

  /**
   * Handles every stream that the peer opens in a fiber and a scope of its own, until the session ends; then it fails
   * with what ended the session, as soon as the handlers that run have ended, which may still read what had arrived. A
   * handler that fails ends its stream, not the session; the failure is logged at debug level. Interruption ends the
   * handlers.
   */
  readonly run: <E, R>(
    handler: (stream: MuxStream) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<never, AcceptError, Exclude<R, Scope.Scope>>

  /**
   * Closes the session and its WebSocket, and completes when it is closed: what is queued is flushed within
   * `flushTimeout`, the close frame is answered within `closeTimeout`. Idempotent. Interrupting it does not stop the
   * closing.
   */
  readonly close: Effect.Effect<void>

  /** Whether the session has ended, for whatever reason. */
  readonly isClosed: Effect.Effect<boolean>

  /** Waits until the session is closed, and tells what ended it. */
  readonly awaitClosed: Effect.Effect<TerminalError>

  /** Replaces the callback that runs, once, when the session is closed. Too late once it has run. */
  readonly setCloseCallback: (callback: (cause: TerminalError) => Effect.Effect<void>) => Effect.Effect<void>

  /** The session's streams and counters at this moment, for operators. */
  readonly snapshot: Effect.Effect<SessionSnapshot>
}

/**
 * The operation that opens a stream. `E` is the type of its failures without an id of the caller's choice: only an open
 * with such an id can fail with `DuplicateStream`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Open<out E> {
  (options?: { readonly id?: undefined }): Effect.Effect<MuxStream, E, Scope.Scope>
  (options: OpenOptions | undefined): Effect.Effect<MuxStream, E | DuplicateStream, Scope.Scope>
}

/**
 * The part of a session that opens streams: a `Session` or a `ReconnectingSession`. Adapters take this.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opener<out E = OpenError> {
  readonly open: Open<E>
}

/**
 * The part of a session that serves the peer's streams: a `Session` or a `ReconnectingSession`, which has no address of
 * its own. Adapters take this.
 *
 * @since 0.1.0
 * @category models
 */
export interface Acceptor<out E = AcceptError> {
  readonly localAddress?: Address | undefined
  readonly run: <E2, R>(
    handler: (stream: MuxStream) => Effect.Effect<unknown, E2, R>
  ) => Effect.Effect<never, E, Exclude<R, Scope.Scope>>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface OpenOptions {
  /**
   * An id of this role's parity to use instead of the next free one. Ids that have been used count as taken, since a Go
   * peer may revive a dead stream. An id of the wrong parity, or no uint32, is a defect.
   */
  readonly id?: number | undefined
}

/**
 * The session of a program that has one.
 *
 * @since 0.1.0
 * @category context
 */
export const Session: Context.Tag<Session, Session> = Context.GenericTag<Session>("effect-wsmux/Session")

/**
 * The `Opener` of a program that does not care whether its session reconnects. The layers of `Session` and of
 * `ReconnectingSession` provide this tag beside their own. A `Session` never fails with `NotConnected`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Session from "effect-wsmux/Session"
 *
 * // needs a Session or a ReconnectingSession
 * export const greet = Effect.scoped(Effect.gen(function*() {
 *   const opener = yield* Session.StreamOpener
 *   const stream = yield* opener.open()
 *   yield* stream.write(new TextEncoder().encode("hello"))
 *   yield* stream.end
 * }))
 * ```
 *
 * @since 0.2.0
 * @category context
 */
export class StreamOpener extends Context.Tag("effect-wsmux/StreamOpener")<
  StreamOpener,
  Opener<OpenError | NotConnected>
>() {}

/**
 * The `Acceptor` of a program that does not care whether its session reconnects. The layers of `Session` and of
 * `ReconnectingSession` provide this tag beside their own. A `Session` never fails with `NotConnected`.
 *
 * @since 0.2.0
 * @category context
 */
export class StreamAcceptor extends Context.Tag("effect-wsmux/StreamAcceptor")<
  StreamAcceptor,
  Acceptor<AcceptError | NotConnected>
>() {}

/**
 * @since 0.1.0
 * @category guards
 */
export const isSession = (u: unknown): u is Session => Predicate.hasProperty(u, TypeId)

/**
 * The same session with another principal, for servers that authorise their clients in a way of their own.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withPrincipal = <P>(session: Session, principal: P): Session<P> => ({ ...session, principal })

/**
 * A session in the client role (odd ids) over the transport in the context, as Go's `wsmux.Client`. Settings that are
 * not given come from the `SessionConfig` in the context, whose default is `SessionConfig.defaults`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeClient = (
  settings?: SessionConfig.PartialSettings
): Effect.Effect<Session, InvalidConfiguration, Transport | Scope.Scope> => internal.makeSession("client", settings)

/**
 * A session in the server role (even ids) over the transport in the context, as Go's `wsmux.Server`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeServer = (
  settings?: SessionConfig.PartialSettings
): Effect.Effect<Session, InvalidConfiguration, Transport | Scope.Scope> => internal.makeSession("server", settings)

/**
 * The services that a layer of this module provides, all of the same session.
 *
 * @since 0.2.0
 * @category models
 */
export type Services = Session | StreamOpener | StreamAcceptor

/**
 * Provides a `Session` in the client role over a `Transport`, also as `StreamOpener` and `StreamAcceptor`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Stream from "effect/Stream"
 * import * as Session from "effect-wsmux/Session"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 *
 * const program = Effect.scoped(Effect.gen(function*() {
 *   const session = yield* Session.Session
 *   const stream = yield* session.open()
 *   yield* stream.write(new TextEncoder().encode("hello"))
 *   yield* stream.end
 *   return yield* Stream.mkString(Stream.decodeText(stream.readable))
 * }))
 *
 * const SessionLive = Session.layerClient().pipe(
 *   Layer.provide(NodeTransport.layer("ws://127.0.0.1:8080"))
 * )
 *
 * export const main = Effect.provide(program, SessionLive)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  settings?: SessionConfig.PartialSettings
): Layer.Layer<Services, InvalidConfiguration, Transport> => provide(makeClient(settings))

/**
 * Provides a `Session` in the server role over a `Transport`, also as `StreamOpener` and `StreamAcceptor`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = (
  settings?: SessionConfig.PartialSettings
): Layer.Layer<Services, InvalidConfiguration, Transport> => provide(makeServer(settings))

/**
 * `layerClient` with the settings that a `Config` describes, such as `SessionConfig.config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClientConfig = (
  settings: Config.Config.Wrap<SessionConfig.PartialSettings>
): Layer.Layer<Services, InvalidConfiguration | ConfigError, Transport> =>
  provide(Effect.flatMap(Config.unwrap(settings), makeClient))

/**
 * `layerServer` with the settings that a `Config` describes, such as `SessionConfig.config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServerConfig = (
  settings: Config.Config.Wrap<SessionConfig.PartialSettings>
): Layer.Layer<Services, InvalidConfiguration | ConfigError, Transport> =>
  provide(Effect.flatMap(Config.unwrap(settings), makeServer))

const provide = <E, R>(make: Effect.Effect<Session, E, R>): Layer.Layer<Services, E, Exclude<R, Scope.Scope>> =>
  Layer.scopedContext(Effect.map(make, (session) =>
    Context.make(Session, session).pipe(
      Context.add(StreamOpener, session),
      Context.add(StreamAcceptor, session)
    )))
