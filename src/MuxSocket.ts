/**
 * A stream of a session as a platform `Socket`, and a session as a platform `SocketServer`: for RPC, and whatever else
 * `@effect/platform` builds on sockets.
 *
 * @since 0.1.0
 */
import * as Socket from "@effect/platform/Socket"
import * as SocketServer from "@effect/platform/SocketServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { type Address, format, opaque } from "./Address.js"
import type { MuxStream } from "./MuxStream.js"
import type { Acceptor, Opener, OpenOptions } from "./Session.js"
import { Session } from "./Session.js"

/**
 * A stream as a `Socket`.
 *
 * - `run` hands over one chunk after the other: while the handler is busy nothing more is read, so a slow one slows the
 *   peer down, which the platform's own sockets do not. It completes at the peer's FIN; a lost stream is a `SocketError` of
 *   reason `Read`, with the error of the stream as its cause.
 * - What a `writer` writes waits for the first run, and for the peer's credit; it may go on when the peer has ended. When the
 *   writer's scope closes, FIN is sent, and reading goes on.
 * - A `CloseEvent` sends FIN as well and ends `run`, with a `SocketCloseError` unless its code is 1000: this wire carries
 *   neither code nor reason.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMuxStream = (stream: MuxStream): Effect.Effect<Socket.Socket> =>
  make(Effect.succeed(stream), { leaves: false })

/**
 * A `Socket` that opens a stream of the session whenever it is run, and leaves it afterwards: what survives a peer that
 * ends its streams, and what an `RpcClient` wants. Until it runs, writes wait.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSession = (session: Opener<unknown>, options?: OpenOptions): Effect.Effect<Socket.Socket> =>
  make(session.open(options), { leaves: true })

/**
 * Provides `fromSession` of the session in the context.
 *
 * `@effect/rpc` pings every 10 seconds, and gives a connection up after 10 more without an answer. With
 * `retryTransientErrors: true` the calls in flight then neither fail nor are sent again: they wait for ever. Give the
 * session a `keepAliveInterval` below 5 seconds: its end comes first, and each call in flight fails with `RpcClientError`.
 *
 * @example
 * ```ts
 * import * as MuxSocket from "effect-wsmux/MuxSocket"
 * import * as Session from "effect-wsmux/Session"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 * import * as Layer from "effect/Layer"
 *
 * // a platform Socket to the server, beside whatever else the session carries
 * export const SocketLive = MuxSocket.layer().pipe(
 *   Layer.provide(Session.layerClient()),
 *   Layer.provide(NodeTransport.layer("ws://127.0.0.1:8080"))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: OpenOptions): Layer.Layer<Socket.Socket, never, Session> => layerFrom(Session, options)

/**
 * `layer` of another session than the one in the context, such as one that comes back: `layerFrom(ReconnectingSession)`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFrom = <E, R>(
  session: Effect.Effect<Opener<unknown>, E, R>,
  options?: OpenOptions
): Layer.Layer<Socket.Socket, E, R> =>
  Layer.effect(Socket.Socket, Effect.flatMap(session, (opener) => fromSession(opener, options)))

/**
 * A session as a `SocketServer`: each stream that the peer opens is a socket of its own. `run` fails with a
 * `SocketServerError` when the session ends, with the session's terminal error as its cause.
 *
 * @since 0.1.0
 * @category servers
 */
export const makeServer = (session: Acceptor<unknown>): SocketServer.SocketServer["Type"] =>
  SocketServer.SocketServer.of({
    address: toPlatform(session.localAddress ?? opaque("session")),
    run: (handler) =>
      Effect.mapError(
        session.run((stream) => Effect.flatMap(fromMuxStream(stream), handler)),
        (cause) => new SocketServer.SocketServerError({ reason: "Unknown", cause })
      )
  })

/**
 * Provides the session in the context as a `SocketServer`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer: Layer.Layer<SocketServer.SocketServer, never, Session> = Layer.suspend(() =>
  layerServerFrom(Session)
)

/**
 * `layerServer` of another session than the one in the context, such as one that comes back.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServerFrom = <E, R>(
  session: Effect.Effect<Acceptor<unknown>, E, R>
): Layer.Layer<SocketServer.SocketServer, E, R> =>
  Layer.effect(SocketServer.SocketServer, Effect.map(session, makeServer))

/** What one run of a socket reads from and writes to. */
interface Connection {
  readonly stream: MuxStream
  /** Ends the run, for a `CloseEvent`. */
  readonly close: (exit: Exit.Exit<void, Socket.SocketError>) => Effect.Effect<unknown>
}

/** @param leaves whether the stream is left after each run: there is none to write to until the next */
const make = <E>(
  acquire: Effect.Effect<MuxStream, E, Scope.Scope>,
  { leaves }: { readonly leaves: boolean }
): Effect.Effect<Socket.Socket> =>
  Effect.sync(() => {
    const connected = Effect.unsafeMakeLatch(false)
    let connection: Connection | undefined

    const run: Socket.Socket["run"] = <A, E2, R>(
      handler: (chunk: Uint8Array) => Effect.Effect<A, E2, R> | void,
      options?: { readonly onOpen?: Effect.Effect<void> | undefined }
    ) =>
      Effect.scopedWith((scope) =>
        Effect.gen(function*() {
          const stream = yield* Effect.mapError(Scope.extend(acquire, scope), failed("Open"))
          const over = yield* Deferred.make<void, Socket.SocketError | E2>()
          connection = { stream, close: (exit) => Deferred.done(over, exit) }
          yield* connected.open
          if (options?.onOpen !== undefined) yield* options.onOpen
          const next = Effect.mapError(stream.read, failed("Read"))
          const reading = Effect.gen(function*() {
            for (;;) {
              const chunk = yield* next
              if (chunk._tag === "None") return
              const handled = handler(chunk.value)
              if (Effect.isEffect(handled)) yield* handled
            }
          })
          yield* Effect.forkIn(Effect.intoDeferred(reading, over), scope)
          yield* Deferred.await(over)
        })
      ).pipe(
        Effect.ensuring(Effect.sync(() => {
          if (!leaves) return
          connected.unsafeClose()
          connection = undefined
        })),
        Effect.interruptible
      )

    const write = (chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> =>
      connected.whenOpen(Effect.suspend(() => {
        if (connection === undefined) return write(chunk) // a run that was over before this had its turn
        const { close, stream } = connection
        if (Socket.isCloseEvent(chunk)) return Effect.zipRight(endOf(stream), close(exitOf(chunk)))
        return Effect.mapError(
          stream.write(typeof chunk === "string" ? encoder.encode(chunk) : chunk),
          failed("Write")
        )
      }))

    return Socket.Socket.of({
      [Socket.TypeId]: Socket.TypeId,
      run,
      runRaw: run, // a stream carries no text
      writer: Effect.acquireRelease(
        Effect.succeed(write),
        () => Effect.suspend(() => connection === undefined ? Effect.void : endOf(connection.stream))
      )
    })
  })

const failed = (reason: "Open" | "Read" | "Write") => (cause: unknown): Socket.SocketError =>
  new Socket.SocketGenericError({ reason, cause })

/** A stream that is broken has no end to send. */
const endOf = (stream: MuxStream): Effect.Effect<void> => Effect.ignore(stream.end)

const exitOf = ({ code, reason }: Socket.CloseEvent) =>
  code === 1000
    ? Exit.void
    : Exit.fail(new Socket.SocketCloseError({ reason: "Close", code, closeReason: reason }))

const encoder = new TextEncoder()

const toPlatform = (address: Address): SocketServer.Address =>
  address._tag === "OpaqueAddress" ? { _tag: "UnixAddress", path: format(address) } : address
