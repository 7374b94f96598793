/**
 * Carries TCP connections through a session, each as a stream. One end listens for connections, the other dials their
 * targets. The command `wsmux` is made of these two. A connection costs no fiber.
 *
 * @since 0.2.0
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { type ByteStream, make as makeByteStream } from "./ByteStream.js"
import { forkOpen, type OpenerWithoutId, unsafeOpenOf, unsafeRunOf } from "./internal/session/sessionCallbacks.js"
import { forkInterruptibly } from "./internal/sync/forkInterruptibly.js"
import { makeDeferred } from "./internal/sync/unowned.js"
import type { ForwardError as Failure, Settings } from "./internal/tunnel/forward.js"
import { Forwards } from "./internal/tunnel/forwards.js"
import type { Metadata, MuxStream, ResetOptions } from "./MuxStream.js"
import type { Acceptor, Opener, OpenOptions } from "./Session.js"
import type { DuplexFailure, LabelsUnsupported } from "./WsmuxError.js"

/**
 * Why a forwarded connection broke.
 *
 * @since 0.2.0
 * @category errors
 */
export type ForwardError = Failure

/**
 * The events of a tunnel, and the time-out of its writes. Events are called in the middle of the tunnel's work, so they
 * must return soon. An event that throws closes its connection, and the tunnel logs the error.
 *
 * @since 0.2.0
 * @category models
 */
export type Options = Settings

/**
 * Connects each stream that the peer opens to a TCP target. Fails when the session ends, once the connections have
 * ended, which deliver what had arrived for their targets. Interruption resets all streams and connections.
 *
 * A reset passes through the tunnel: a connection that is reset resets its stream, after the bytes that were read, and
 * a stream that is reset resets its connection. So does a target that cannot be reached. A stream whose peer has ended
 * its half and takes no bytes for `stallTimeout` (1 minute by default) is reset with its connection. A peer without the
 * dialect knows no reset, and sees an end in all these cases.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { Session } from "effect-wsmux/Session"
 * import * as TcpTunnel from "effect-wsmux/TcpTunnel"
 * import * as Net from "node:net"
 *
 * // the peer reaches the database through this session, and nothing else
 * export const toPostgres = Effect.flatMap(Session, (session) =>
 *   TcpTunnel.serve(session, { connect: () => Net.connect({ port: 5432, allowHalfOpen: true }) }))
 * ```
 *
 * @since 0.2.0
 * @category servers
 */
export const serve = <E>(
  session: Acceptor<E>,
  options: Options & {
    /**
     * Dials the target of a stream, which the label and the metadata of the stream may name. Returns a socket with
     * `allowHalfOpen`, or each end would end both ways. An effect in place of a socket handles the stream in a fiber of
     * its own, such as `stream.reset({ code, reason })` to refuse it. The stream is left when the effect has ended.
     */
    readonly connect: (stream: MuxStream) => Net.Socket | Effect.Effect<unknown, unknown>
    /** The target of a stream could not be reached. */
    readonly onUnreachable?: ((failure: DuplexFailure, stream: MuxStream) => void) | undefined
    /**
     * The reset that tells a peer with the dialect of a target that could not be reached. Default `ResetCode.Failed`.
     *
     * @since 0.2.0
     */
    readonly explain?: ((failure: DuplexFailure, stream: MuxStream) => ResetOptions) | undefined
  }
): Effect.Effect<never, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.runtime<never>(), (runtime) => {
      const fork = forkInterruptibly(runtime)
      const forwards = new Forwards(fork, options)
      const ended = makeDeferred<never, E>()
      const onFailure = (failure: DuplexFailure, stream: MuxStream) => {
        options.onUnreachable?.(failure, stream)
        return options.explain?.(failure, stream)
      }
      // A fiber may be interrupted before any step, so only the wait for the end of the session is interruptible.
      const stop = unsafeRunOf(session, fork)(
        (owned) => forwards.dial(owned, options.connect, onFailure),
        (exit) => Deferred.unsafeDone(ended, exit)
      )
      return Effect.onExit(restore(Deferred.await(ended)), (exit) => {
        if (!Exit.isInterrupted(exit)) {
          return Effect.onInterrupt(Effect.interruptible(forwards.awaitEmpty), () => forwards.close)
        }
        stop()
        return forwards.close
      })
    })
  )

/**
 * The connections of a listener that are being forwarded.
 *
 * @since 0.2.0
 * @category models
 */
export interface Listener {
  /** Completes once no connection is left. */
  readonly awaitEmpty: Effect.Effect<void>
}

/**
 * Opens a stream for each connection that a TCP server accepts, and forwards between the two. The server must be made
 * with `allowHalfOpen`. Resets pass through the tunnel as with `serve`, and a `label` chooses the handler at the other
 * end. When the scope closes, all streams and connections are reset; the caller closes the server.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { Session } from "effect-wsmux/Session"
 * import * as TcpTunnel from "effect-wsmux/TcpTunnel"
 * import * as Net from "node:net"
 *
 * // connections to port 5432 of this machine arrive at the target of the peer
 * export const database = Effect.gen(function*() {
 *   const server = Net.createServer({ allowHalfOpen: true, noDelay: true })
 *   yield* TcpTunnel.forward(yield* Session, server)
 *   server.listen(5432, "127.0.0.1")
 * })
 * ```
 *
 * @since 0.2.0
 * @category clients
 */
export const forward = <E, E2 = never>(
  session: Opener<E>,
  server: Net.Server,
  options: Options & Pick<OpenOptions, "label" | "early"> & {
    /** Named texts for the peer, or what returns those of a connection. */
    readonly metadata?: Metadata | ((connection: Net.Socket) => Metadata) | undefined
    /**
     * Opens the stream of a connection in place of `session.open`, and may speak with the connection before, as a proxy
     * does. The two are joined afterwards. A fiber runs this effect, and none runs during the join. When the effect
     * fails, the connection is reset, unless the effect has ended both of its directions. The socket is there to ask
     * for addresses.
     *
     * @since 0.2.0
     */
    readonly open?:
      | ((
        connection: ByteStream<DuplexFailure>,
        socket: Net.Socket
      ) => Effect.Effect<MuxStream, E2, Scope.Scope>)
      | undefined
    /** A connection was accepted, and its stream is about to be opened. */
    readonly onConnection?: ((connection: Net.Socket) => void) | undefined
    /** The stream of a connection could not be opened. The connection is reset. */
    readonly onRefused?: ((connection: Net.Socket, cause: Cause.Cause<E | E2 | LabelsUnsupported>) => void) | undefined
  } = {}
): Effect.Effect<Listener, never, Scope.Scope> =>
  Effect.gen(function*() {
    const fork = forkInterruptibly(yield* Effect.runtime<never>())
    const forwards = new Forwards(fork, options)
    const { early, label, metadata, open: negotiate } = options
    const opening = (metadata: Metadata | undefined) =>
      unsafeOpenOf(session as OpenerWithoutId<E | LabelsUnsupported>, fork, { early, label, metadata })
    const opener = typeof metadata === "function" ? undefined : opening(metadata)
    const onConnection = (socket: Net.Socket) => {
      const forward = forwards.add(socket)
      const onFailure = (cause: Cause.Cause<E | E2 | LabelsUnsupported>) => options.onRefused?.(socket, cause)
      forward.call(() => options.onConnection?.(socket))
      if (negotiate !== undefined) {
        const open = Effect.suspend(() => negotiate(makeByteStream(forward.operations), socket))
        return forward.open(forkOpen({ open: () => open }, fork), onFailure)
      }
      const open = opener ?? forward.call(() => opening((metadata as (connection: Net.Socket) => Metadata)(socket)))
      if (open !== undefined) forward.open(open, onFailure)
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => server.on("connection", onConnection)),
      () =>
        Effect.suspend(() => {
          server.off("connection", onConnection)
          return forwards.close
        })
    )
    return { awaitEmpty: forwards.awaitEmpty }
  })
