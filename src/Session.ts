/**
 * Many streams over one WebSocket.
 *
 * A session runs over a `Transport`, in the client role or the server role. The role decides only which ids the streams
 * get. The two ends must have different roles, and either of them may have dialled.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Address } from "./Address.js"
import * as internal from "./internal/session/make.js"
import { withStream as internalWithStream } from "./internal/session/withStream.js"
import type { MuxStream } from "./MuxStream.js"
import type * as SessionConfig from "./SessionConfig.js"
import type { DrainOptions, OpenOptions } from "./SessionOptions.js"
import type { SessionSnapshot } from "./SessionSnapshot.js"
import type { Transport } from "./Transport.js"
import type {
  AcceptError,
  DuplicateStream,
  InvalidConfiguration,
  LabelsUnsupported,
  NotConnected,
  OpenError,
  SessionDraining,
  TerminalError
} from "./WsmuxError.js"

export * from "./SessionOptions.js"

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
 * A session. Closing the scope in which the session was made closes the session. `P` is the type of its principal.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session<out P = unknown> {
  readonly [TypeId]: TypeId

  /** The peer, as the server's `authorize` answered. Undefined without `authorize`, and on the end that dialled. */
  readonly principal: P

  readonly role: "client" | "server"

  readonly localAddress: Address

  readonly remoteAddress: Address

  /**
   * Opens a stream in the caller's scope. Completes when the peer accepts the stream. At most `maxUnacknowledgedOpens`
   * opens of the session are unanswered at once. Further opens wait in turn.
   *
   * - Fails with `StreamRefused` when the peer refuses the stream.
   * - Fails with `AcceptTimeout` when the peer has not answered within `streamAcceptDeadline` of the call.
   * - Fails with `DuplicateStream` when the requested `id` is taken.
   * - Fails with `SessionDraining` when an end takes no new streams. Nothing was sent.
   * - Fails with the terminal error when the session ends.
   *
   * Interruption cancels the open: the session answers a late acceptance with FIN.
   */
  readonly open: Open<OpenError>

  /**
   * Takes the next stream that the peer opened. The caller's scope owns the stream. Skips a stream that its opener
   * cancelled while the stream waited. Fails with the terminal error when the session ends. Interruption takes no
   * stream.
   */
  readonly accept: Effect.Effect<MuxStream, AcceptError, Scope.Scope>

  /** Emits the streams that `accept` takes. The scope in which the `Stream` runs owns them all. */
  readonly accepted: Stream.Stream<MuxStream, AcceptError, Scope.Scope>

  /**
   * Runs the handler for every stream that the peer opens, each in its own fiber and scope.
   *
   * A handler that fails ends its stream and leaves the session open. The session logs the failure at debug level.
   * Fails with the terminal error when the session has ended and all running handlers have returned. Until then the
   * handlers can read the bytes that had arrived. Interruption interrupts the handlers.
   */
  readonly run: <E, R>(
    handler: (stream: MuxStream) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<never, AcceptError, Exclude<R, Scope.Scope>>

  /**
   * Closes the session and its WebSocket. Completes when the WebSocket is closed. The session flushes queued frames for
   * at most `flushTimeout`, and waits for the peer's close frame for at most `closeTimeout`. Idempotent. Interruption
   * does not stop the closing.
   */
  readonly close: Effect.Effect<void>

  /**
   * Takes no new streams, serves those that run until they are over or the grace has passed, then closes the session
   * with code 1001. Completes when the session is closed, for any reason.
   *
   * - Opens fail with `SessionDraining`, also those that wait in turn. Opens that the peer has not answered go on.
   * - A peer that speaks the dialect is told, and opens no more. Its streams that cross the message are refused, which
   *   fails their opens with `SessionDraining`. For these, a session without streams stays open for a round trip, at
   *   most 2 s. Other peers learn from a FIN for each stream that they open.
   * - Streams that wait to be accepted can still be accepted. The session refuses the rest when the grace has passed.
   *
   * Idempotent: a further call can only shorten the grace. Interruption stops the wait, and the session goes on to
   * drain.
   *
   * @since 0.2.0
   */
  readonly drain: (options?: DrainOptions) => Effect.Effect<void>

  /**
   * Completes when an end has begun to drain, with the error that opens fail with. Fails with the terminal error when
   * the session ends before. Only peers that speak the dialect tell that they drain.
   *
   * @since 0.2.0
   */
  readonly awaitDraining: Effect.Effect<SessionDraining, TerminalError>

  /** Returns whether the session has ended, for any reason. */
  readonly isClosed: Effect.Effect<boolean>

  /** Completes with the terminal error when the session is closed. */
  readonly awaitClosed: Effect.Effect<TerminalError>

  /** Replaces the callback that runs once when the session is closed. Has no effect after a callback has run. */
  readonly setCloseCallback: (callback: (cause: TerminalError) => Effect.Effect<void>) => Effect.Effect<void>

  /** Returns the session's streams and counters at this moment, for operators. */
  readonly snapshot: Effect.Effect<SessionSnapshot>
}

/**
 * The operation that opens a stream. Only an open with an `id` of the caller's choice can fail with `DuplicateStream`,
 * and only one with a label or metadata can fail with `LabelsUnsupported`. `E` is the type of the other failures.
 *
 * @since 0.2.0
 * @category models
 */
export interface Open<out E> {
  (options?: OpenOptions & { readonly [K in "id" | "label" | "metadata"]?: undefined }): Effect.Effect<
    MuxStream,
    E,
    Scope.Scope
  >
  (options: OpenOptions & { readonly id?: undefined }): Effect.Effect<MuxStream, E | LabelsUnsupported, Scope.Scope>
  (options: OpenOptions | undefined): Effect.Effect<MuxStream, E | LabelsUnsupported | DuplicateStream, Scope.Scope>
}

/**
 * The part of a session that opens streams. `Session` and `ReconnectingSession` both have this part. Adapters take an
 * `Opener`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opener<out E = OpenError> {
  readonly open: Open<E>
}

/**
 * The part of a session that serves the peer's streams. `Session` and `ReconnectingSession` both have this part, and a
 * `ReconnectingSession` has no local address. Adapters take an `Acceptor`.
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
 * Opens a stream with the options, runs the function with it, and leaves the stream when the effect of the function has
 * ended. Needs no scope, so a short exchange costs less than with `open`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import * as Session from "effect-wsmux/Session"
 *
 * export const time = Effect.flatMap(Session.Session, (session) =>
 *   Session.withStream(session, (stream) =>
 *     Effect.zipRight(ByteStream.writeEnd(stream, "time"), ByteStream.readText(stream))))
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const withStream: {
  <A, E, R>(
    use: (stream: MuxStream) => Effect.Effect<A, E, R>
  ): <OE>(opener: Opener<OE>) => Effect.Effect<A, E | OE, R>
  <A, E, R, OE>(
    opener: Opener<OE>,
    use: (stream: MuxStream) => Effect.Effect<A, E, R>,
    options?: { readonly early?: boolean | undefined }
  ): Effect.Effect<A, E | OE, R>
  <A, E, R, OE>(
    opener: Opener<OE>,
    use: (stream: MuxStream) => Effect.Effect<A, E, R>,
    options: Omit<OpenOptions, "id">
  ): Effect.Effect<A, E | OE | LabelsUnsupported, R>
} = dual((args) => !Predicate.isFunction(args[0]), internalWithStream)

/**
 * The tag of a program's session.
 *
 * @since 0.1.0
 * @category context
 */
export const Session: Context.Tag<Session, Session> = Context.GenericTag<Session>("effect-wsmux/Session")

/**
 * The `Opener` of a program that runs with a `Session` or a `ReconnectingSession`. The layers of both provide this tag
 * beside their own. A `Session` never fails with `NotConnected`.
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
 * The `Acceptor` of a program that runs with a `Session` or a `ReconnectingSession`. The layers of both provide this
 * tag beside their own. A `Session` never fails with `NotConnected`.
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
 * Returns the same session with another principal, for servers with their own authorisation.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withPrincipal = <P>(session: Session, principal: P): Session<P> => ({ ...session, principal })

/**
 * Makes a session in the client role (odd ids) over the transport in the context, as Go's `wsmux.Client` does. Omitted
 * settings come from the `SessionConfig` in the context, whose default is `SessionConfig.defaults`. Fails with
 * `InvalidConfiguration` when a setting is invalid.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeClient = (
  settings?: SessionConfig.PartialSettings
): Effect.Effect<Session, InvalidConfiguration, Transport | Scope.Scope> => internal.makeSession("client", settings)

/**
 * Makes a session in the server role (even ids) over the transport in the context, as Go's `wsmux.Server` does. The
 * settings and failures are those of `makeClient`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeServer = (
  settings?: SessionConfig.PartialSettings
): Effect.Effect<Session, InvalidConfiguration, Transport | Scope.Scope> => internal.makeSession("server", settings)

/**
 * The services that a layer of this module provides. All of them use the same session.
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
 * Provides the services of `layerClient`, with the settings of a `Config` such as `SessionConfig.config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClientConfig = (
  settings: Config.Config.Wrap<SessionConfig.PartialSettings>
): Layer.Layer<Services, InvalidConfiguration | ConfigError, Transport> =>
  provide(Effect.flatMap(Config.unwrap(settings), makeClient))

/**
 * Provides the services of `layerServer`, with the settings of a `Config` such as `SessionConfig.config`.
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
