/**
 * Streams of a session as Node sockets: as a `Duplex`, in an `http.Agent`, and for an `http.Server`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as ByteStream from "./ByteStream.js"
import { SecureStreamAgent, StreamAgent } from "./internal/adapter/agent.js"
import { setCallbacks } from "./internal/adapter/callbacks.js"
import { MuxDuplex } from "./internal/adapter/duplex.js"
import { ForeignDuplex } from "./internal/adapter/foreignDuplex.js"
import { watchRequests } from "./internal/adapter/watchRequests.js"
import type { MuxStream } from "./MuxStream.js"
import type { Acceptor, Opener, OpenOptions } from "./Session.js"
import type { DuplexFailure, DuplicateStream, LabelsUnsupported } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Whether the duplex stays writable when the peer has ended its half. Default false for `open` and `connector`, as
   * for `net.connect`: a driver waits for `close` when its server ends. Default true for `fromMuxStream` and `serve`.
   */
  readonly allowHalfOpen?: boolean | undefined
  /**
   * The time that a write waits for credit when the peer has ended its half. The duplex is then destroyed with
   * `ETIMEDOUT` and `Stalled` as its cause, since the peer has most likely gone. Default 1 minute.
   */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /** The number of bytes that may wait to be written before `write` returns false. Default 64 KiB. */
  readonly writableHighWaterMark?: number | undefined
}

/**
 * What the peer is told about the streams that an adapter opens, such as the label that chooses a handler.
 *
 * @since 0.2.0
 * @category models
 */
export type StreamOptions = Pick<OpenOptions, "label" | "metadata" | "early">

/**
 * Makes a `Duplex` of a stream. The scope destroys the duplex.
 *
 * The duplex has the members of a `net.Socket` that `node:http`, `node:tls` and database drivers use: addresses,
 * `setTimeout`, `setNoDelay`, `ref`, byte counts, half-open. Beside the window it buffers one unread chunk. Errors have
 * the codes of a socket's errors (`ECONNRESET`, `EPIPE`, `ETIMEDOUT`), and the error of the stream as their cause.
 *
 * `end` sends the end. Destroying the duplex with an error, or with unsent or unread bytes, resets the stream.
 * Destroying it otherwise ends the stream, as closing a TCP connection does: Node closes idle HTTP connections so. A
 * reset by the peer destroys the duplex with `ECONNRESET`. A peer without the dialect knows no reset, and sees an end
 * instead.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMuxStream = (stream: MuxStream, options: Options = {}): Effect.Effect<Duplex, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(
      Effect.runtime<never>(),
      (runtime) => new MuxDuplex(stream, () => Effect.void, runtime, options)
    ),
    destroy
  )

/**
 * Opens a stream as a `Duplex`, as `net.connect` opens a connection. The duplex owns the stream, and leaves or resets
 * the stream when it is destroyed. The duplex destroys itself once both halves have ended. The peer's end ends both
 * halves unless `allowHalfOpen` is set.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeDuplex from "effect-wsmux/NodeDuplex"
 * import { Session } from "effect-wsmux/Session"
 * import * as Tls from "node:tls"
 *
 * // TLS within a stream, to a server behind the peer
 * export const secure = Effect.flatMap(Session, (session) =>
 *   Effect.map(NodeDuplex.open(session), (socket) => Tls.connect({ socket, servername: "db.example" })))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const open: {
  <E>(
    session: Opener<E>,
    options?: Options & OpenOptions & { readonly [K in "id" | "label" | "metadata"]?: undefined }
  ): Effect.Effect<Duplex, E>
  <E>(
    session: Opener<E>,
    options: Options & OpenOptions & { readonly id?: undefined }
  ): Effect.Effect<Duplex, E | LabelsUnsupported>
  <E>(
    session: Opener<E>,
    options: Options & OpenOptions
  ): Effect.Effect<Duplex, E | DuplicateStream | LabelsUnsupported>
} = <E>(session: Opener<E>, options: Options & OpenOptions = {}) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const runtime = yield* Effect.runtime<never>()
      const scope = yield* Scope.make()
      const stream = yield* restore(Scope.extend(session.open(options), scope)).pipe(
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
      return new MuxDuplex(stream, (exit) => Scope.close(scope, exit), runtime, asNetConnect(options))
    })
  ) as Effect.Effect<Duplex, E> // the other failures need an id or a label

/**
 * Makes a function that returns a new duplex, for drivers that ask for a socket at each connection. The duplex can be
 * used at once, and opens its stream in the background. A stream that cannot be opened is an `error` of its duplex.
 * When the peer ends the stream, the duplex ends and closes, unless `allowHalfOpen` is set.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeDuplex from "effect-wsmux/NodeDuplex"
 * import { Session } from "effect-wsmux/Session"
 * import Mysql from "mysql2/promise"
 * import Pg from "pg"
 * import { Pool } from "undici"
 *
 * // pools of connections through three sessions; undici expects its callback in a later turn
 * export const pools = (toPostgres: Session, toMariaDb: Session, toHttp: Session) =>
 *   Effect.gen(function*() {
 *     const [postgres, mariaDb, http] = yield* Effect.forEach([toPostgres, toMariaDb, toHttp], (session) =>
 *       NodeDuplex.connector(session))
 *     return {
 *       pg: new Pg.Pool({ user: "app", stream: postgres! }),
 *       mysql2: Mysql.createPool({ user: "app", stream: mariaDb! }),
 *       undici: new Pool("http://inside", { connect: (_, callback) => process.nextTick(callback, null, http!()) })
 *     }
 *   })
 * ```
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeDuplex from "effect-wsmux/NodeDuplex"
 * import type { Session } from "effect-wsmux/Session"
 * import { AbstractConnector, Redis, type RedisOptions } from "ioredis"
 * import type { Socket } from "node:net"
 *
 * // ioredis asks its connector for each connection
 * export const redis = (session: Session) =>
 *   Effect.map(NodeDuplex.connector(session), (connect) => {
 *     class Connector extends AbstractConnector {
 *       constructor() {
 *         super(1000)
 *       }
 *       override connect() {
 *         this.connecting = true
 *         this.stream = connect() as Socket
 *         return Promise.resolve(this.stream)
 *       }
 *     }
 *     // by default, ioredis sends commands again whose answers were lost
 *     return new Redis({ Connector, maxRetriesPerRequest: 0 } as RedisOptions)
 *   })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const connector = (
  session: Opener<unknown>,
  options: Options & StreamOptions = {}
): Effect.Effect<() => Duplex> =>
  Effect.map(Effect.runtime<never>(), (runtime) => () => {
    const scope = Effect.runSync(Scope.make())
    const stream = Scope.extend(session.open(streamOptions(options)), scope)
    return new MuxDuplex(stream, (exit) => Scope.close(scope, exit), runtime, asNetConnect(options))
  })

/**
 * Makes a `ByteStream` of a duplex, such as a `net.Socket`. Calls `make` at once, and completes when the socket is
 * connected. The scope owns the duplex. When the scope closes, a duplex that has not ended both ways is destroyed. A
 * TCP connection is reset, so that its peer sees a loss instead of an end. Set `allowHalfOpen`, or the peer's end ends
 * both ways.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toByteStream = (
  make: () => Duplex
): Effect.Effect<ByteStream.ByteStream<DuplexFailure>, DuplexFailure, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new ForeignDuplex(make())),
    (duplex) => Effect.async<void>((resume) => duplex.release(() => resume(Effect.void)))
  ).pipe(
    Effect.tap((duplex) => duplex.connected),
    Effect.map((duplex) => setCallbacks(ByteStream.make(duplex.operations), () => duplex))
  )

/**
 * Makes an `http.Agent` whose connections are streams of the session, kept alive and pooled as its options say. The
 * scope destroys the agent and its connections.
 *
 * @since 0.1.0
 * @category http
 */
export const agent = (
  session: Opener<unknown>,
  options: Http.AgentOptions & StreamOptions = {}
): Effect.Effect<Http.Agent, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(connector(session, streamOptions(options)), (connect) => new StreamAgent(connect, options)),
    (agent) => Effect.sync(() => agent.destroy())
  )

/**
 * Makes an `https.Agent` in the same way, with TLS within each stream.
 *
 * @since 0.1.0
 * @category http
 */
export const httpsAgent = (
  session: Opener<unknown>,
  options: Https.AgentOptions & StreamOptions = {}
): Effect.Effect<Https.Agent, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(connector(session, streamOptions(options)), (connect) => new SecureStreamAgent(connect, options)),
    (agent) => Effect.sync(() => agent.destroy())
  )

/**
 * Gives each stream that the peer opens to an `http.Server` (or an `https.Server`) as a connection. Fails when the
 * session ends. Interruption destroys the connections.
 *
 * The server need not listen. Its `headersTimeout`, `requestTimeout` and `keepAliveTimeout` are in force meanwhile, and
 * its `closeIdleConnections` closes these connections. A response to a client that has gone ends after `stallTimeout`.
 *
 * @since 0.1.0
 * @category http
 */
export const serve = <E>(
  session: Acceptor<E>,
  server: Pick<Http.Server, "emit">,
  options: Options = {}
): Effect.Effect<never, E> =>
  Effect.scoped(Effect.zipRight(
    watchRequests(server),
    session.run((stream) =>
      Effect.flatMap(fromMuxStream(stream, options), (duplex) =>
        Effect.async<void>((resume) => {
          duplex.once("close", () => resume(Effect.void))
          duplex.on("error", () => {}) // the server removes its listener from an upgraded connection
          server.emit("connection", duplex)
        })).pipe(Effect.scoped)
    )
  ))

/** The options of an agent or a duplex hold others, too, which are none of an open's. */
const streamOptions = ({ early, label, metadata }: StreamOptions): StreamOptions => ({ early, label, metadata })

/** Drivers expect the connections of `net.connect`. */
const asNetConnect = (options: Options): Options => ({ ...options, allowHalfOpen: options.allowHalfOpen ?? false })

/** Completes once the duplex is closed. */
const destroy = (duplex: Duplex): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (duplex.closed) return resume(Effect.void)
    duplex.once("close", () => resume(Effect.void))
    duplex.destroy()
  })
