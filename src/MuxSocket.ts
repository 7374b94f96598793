/**
 * A stream as a platform `Socket`, and a session as a platform `SocketServer`, for RPC and for everything else that
 * `@effect/platform` builds on sockets.
 *
 * @since 0.1.0
 */
import * as Socket from "@effect/platform/Socket"
import * as SocketServer from "@effect/platform/SocketServer"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { type Address, format, opaque } from "./Address.js"
import { resetsOf } from "./internal/session/callbacks.js"
import { type MuxStream, ResetCode } from "./MuxStream.js"
import { type Acceptor, type Opener, type OpenOptions, StreamAcceptor, StreamOpener } from "./Session.js"
import type { ReadError } from "./WsmuxError.js"

/**
 * Makes a `Socket` of a stream.
 *
 * - `run` hands over one chunk after the other, and reads no more while the handler runs. So a slow handler slows the
 *   peer down, unlike with the platform's own sockets. `run` completes at the peer's FIN. It fails with a `SocketError`
 *   of reason `Read` when the stream is lost; the error of the stream is its cause.
 * - A write waits for the first run, and for the peer's credit. Writing may go on after the peer's FIN. When the
 *   writer's scope closes, the socket sends FIN, and reading goes on.
 * - A `CloseEvent` of code 1000 also sends FIN. Another code resets the stream with the code and the reason, and ends
 *   `run` at both ends with a `SocketCloseError`. A peer without the dialect sees FIN.
 * - A handler that fails resets the stream. So does the scope of the stream when it closes by an interruption.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMuxStream = (stream: MuxStream): Effect.Effect<Socket.Socket> =>
  make(Effect.succeed(stream), { closesStream: false })

/**
 * Makes a `Socket` that opens a stream at each run, and closes the stream after the run. So the socket outlives its
 * streams, as an `RpcClient` needs. Writes wait for a run.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSession = (session: Opener<unknown>, options?: OpenOptions): Effect.Effect<Socket.Socket> =>
  make(session.open(options), { closesStream: true })

/**
 * Provides a `Socket` by `fromSession`. The layers of `Session` and of `ReconnectingSession` provide its
 * `StreamOpener`.
 *
 * `@effect/rpc` pings every 10 seconds, and gives up a connection after 10 more without an answer. With
 * `retryTransientErrors: true`, the pending calls then neither fail nor are sent again: they never complete. Give the
 * session a `keepAliveInterval` below 5 seconds. The session then ends first, and each pending call fails with
 * `RpcClientError`.
 *
 * @example
 * ```ts
 * import * as MuxSocket from "effect-wsmux/MuxSocket"
 * import * as Session from "effect-wsmux/Session"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 * import * as Layer from "effect/Layer"
 *
 * // a platform Socket to the server, beside the other streams of the session
 * export const SocketLive = MuxSocket.layer().pipe(
 *   Layer.provide(Session.layerClient()),
 *   Layer.provide(NodeTransport.layer("ws://127.0.0.1:8080"))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: OpenOptions): Layer.Layer<Socket.Socket, never, StreamOpener> =>
  Layer.effect(Socket.Socket, Effect.flatMap(StreamOpener, (opener) => fromSession(opener, options)))

/**
 * Makes a `SocketServer` of a session, or of one label of it (`StreamRouter.acceptors`). Each stream that the peer
 * opens is a socket. `run` fails with a `SocketServerError` when the session ends; the error that ended the session is
 * its cause.
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
 * Provides a `SocketServer` by `makeServer`. The layers of `Session` and of `ReconnectingSession` provide its
 * `StreamAcceptor`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer: Layer.Layer<SocketServer.SocketServer, never, StreamAcceptor> = Layer.suspend(() =>
  Layer.effect(SocketServer.SocketServer, Effect.map(StreamAcceptor, makeServer))
)

/** The stream of one run of a socket. */
interface Connection {
  readonly stream: MuxStream
  /** Ends the run at a `CloseEvent`. */
  readonly close: (exit: Exit.Exit<void, Socket.SocketError>) => Effect.Effect<unknown>
}

/** @param closesStream whether a run closes its stream, so that writes wait for the next run */
const make = <E>(
  acquire: Effect.Effect<MuxStream, E, Scope.Scope>,
  { closesStream }: { readonly closesStream: boolean }
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
          const ended = yield* Deferred.make<void, Socket.SocketError | E2>()
          connection = { stream, close: (exit) => Deferred.done(ended, exit) }
          yield* connected.open
          if (options?.onOpen !== undefined) yield* options.onOpen
          const next = Effect.mapError(stream.read, readFailed)
          const reading = Effect.gen(function*() {
            for (;;) {
              const chunk = yield* next
              if (chunk._tag === "None") return
              const handled = handler(chunk.value)
              if (Effect.isEffect(handled)) yield* handled
            }
          })
          yield* Effect.forkIn(Effect.intoDeferred(reading, ended), scope)
          yield* Effect.onError(Deferred.await(ended), (cause) =>
            // An interrupted run may follow a complete answer. The stream's scope knows.
            Cause.isInterruptedOnly(cause) ? Effect.void : Effect.sync(() => resetStream(stream, resetOf(cause))))
        })
      ).pipe(
        Effect.ensuring(Effect.sync(() => {
          if (!closesStream) return
          connected.unsafeClose()
          connection = undefined
        })),
        Effect.interruptible
      )

    const write = (chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> =>
      connected.whenOpen(Effect.suspend(() => {
        if (connection === undefined) return write(chunk) // the run ended before this fiber's turn
        const { close, stream } = connection
        if (Socket.isCloseEvent(chunk)) {
          const isReset = chunk.code !== 1000 && resetStream(stream, { code: chunk.code, reason: chunk.reason ?? "" })
          return Effect.zipRight(isReset ? Effect.void : endOf(stream), close(exitOf(chunk)))
        }
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

/** The reset by a `CloseEvent` of the peer, whose codes are those of a WebSocket, or another failure. */
const readFailed = (cause: ReadError): Socket.SocketError =>
  cause._tag === "StreamReset" && cause.by === "peer" && cause.code > 1000 && cause.code < 5000
    ? new Socket.SocketCloseError({ reason: "Close", code: cause.code, closeReason: cause.reason })
    : failed("Read")(cause)

/** Returns false where the peer knows no reset. */
const resetStream = (stream: MuxStream, cause: { readonly code: number; readonly reason: string }): boolean => {
  const resets = resetsOf(stream)
  resets?.reset(cause)
  return resets !== undefined
}

/** The text of a failure stays here, unless a `CloseEvent` gave it. */
const resetOf = (cause: Cause.Cause<unknown>) => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  return failure instanceof Socket.SocketCloseError
    ? { code: failure.code, reason: failure.closeReason ?? "" }
    : { code: ResetCode.Failed, reason: "" }
}

/** Sends FIN, unless the stream is broken. */
const endOf = (stream: MuxStream): Effect.Effect<void> => Effect.ignore(stream.end)

const exitOf = ({ code, reason }: Socket.CloseEvent) =>
  code === 1000
    ? Exit.void
    : Exit.fail(new Socket.SocketCloseError({ reason: "Close", code, closeReason: reason }))

const encoder = new TextEncoder()

const toPlatform = (address: Address): SocketServer.Address =>
  address._tag === "OpaqueAddress" ? { _tag: "UnixAddress", path: format(address) } : address
