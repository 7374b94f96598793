/**
 * One stream of a session: bytes both ways, each way with its own flow control and its own end.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Sink from "effect/Sink"
import type * as Stream from "effect/Stream"
import type { Address } from "./Address.js"
import type { BrokenPipe, InvalidDeadline, ReadError, WriteError } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: unique symbol = Symbol.for("effect-wsmux/MuxStream")

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * A point in time, by the program's `Clock`: milliseconds since the epoch, a `Date` or a `DateTime`. `undefined` stands
 * for none.
 *
 * @since 0.1.0
 * @category models
 */
export type Deadline = number | Date | DateTime.DateTime | undefined

/**
 * The members of a stream. The handles of a session compute them, so `{ ...stream }` has none of them. TypeScript
 * leaves members of a class out of such a copy, so declared here they are missing in its type, too.
 */
declare abstract class Members {
  /** Unique among the streams of the session: odd where the client opened it, even where the server did. */
  abstract get id(): number

  /** The session's own address. */
  abstract get localAddress(): Address

  /** The session's peer. */
  abstract get remoteAddress(): Address

  /**
   * The bytes from the peer, one chunk at each pull. Ends only at the peer's FIN; a lost session is a `BrokenPipe`. Taking
   * bytes returns their credit, in halves of the window. Run again, it goes on where it stopped.
   *
   * Read a header by `ByteStream.buffered`: `Stream.peel` turns a later failure of what follows into a defect.
   */
  abstract get readable(): Stream.Stream<Uint8Array, ReadError>

  /**
   * Writes what it is given and sends FIN when its input ends. An input that fails, or an interruption, sends none.
   */
  abstract get writable(): Sink.Sink<void, Uint8Array, never, WriteError>

  /**
   * The next chunk, or none at the peer's FIN. The bytes are the caller's. Interrupted while waiting, it takes nothing; to
   * bound the wait prefer `setReadDeadline` to a timeout, which may drop a chunk that comes at the same moment.
   */
  abstract get read(): Effect.Effect<Option.Option<Uint8Array>, ReadError>

  /**
   * Writes a chunk; completes when the last of it has been handed to the socket, so that a slow peer slows the writer.
   * Writes from several fibers do not interleave. The chunk must not change until then. Interrupting it leaves out what
   * has not been sent; the error of a failed write tells how many bytes had been.
   */
  abstract get write(): (chunk: Uint8Array) => Effect.Effect<void, WriteError>

  /** Writes several chunks as one write; small ones share frames. */
  abstract get writeAll(): (chunks: Iterable<Uint8Array>) => Effect.Effect<void, WriteError>

  /**
   * Sends FIN behind what is being written: the peer reads to the end, while we may go on reading. Later writes fail with
   * `BrokenPipe`; ending again does nothing. Interrupting the wait does not take the FIN back.
   */
  abstract get end(): Effect.Effect<void, BrokenPipe>

  /**
   * From this time on a read that finds nothing fails with `ReadTimeout`, a waiting one too, until the deadline is moved
   * or cleared. What has arrived is still delivered. A time in the past fails with `InvalidDeadline` and changes nothing.
   */
  abstract get setReadDeadline(): (deadline: Deadline) => Effect.Effect<void, InvalidDeadline>

  /**
   * From this time on writes fail with `WriteTimeout`, waiting ones too, until the deadline is moved or cleared.
   */
  abstract get setWriteDeadline(): (deadline: Deadline) => Effect.Effect<void, InvalidDeadline>

  /** Sets both. */
  abstract get setDeadline(): (deadline: Deadline) => Effect.Effect<void, InvalidDeadline>
}

/**
 * A stream of a session, owned by the scope that opened or accepted it.
 *
 * When that scope closes, what has not been ended is ended: a FIN is sent, and what still arrives is thrown away within
 * the session's `discardLimit`, with its credit returned, so that the peer's writer is not stuck. The wire has no reset:
 * a peer cannot tell a stream that was left from one that was ended, so protocols that care must mark their end.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 *
 * // sends everything back, then the end
 * export const echo = (stream: MuxStream) => Stream.run(stream.readable, stream.writable)
 *
 * export const shout = (stream: MuxStream, text: string) =>
 *   stream.write(new TextEncoder().encode(text.toUpperCase())).pipe(
 *     Effect.zipRight(stream.end),
 *     Effect.catchTag("BrokenPipe", (error) => Effect.logError(error.message))
 *   )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface MuxStream extends Members {
  readonly [TypeId]: TypeId
}

/**
 * The same stream with some operations replaced, such as by one that counts. `{ ...stream, write }` would lose the
 * others.
 *
 * @example
 * ```ts
 * import { type MuxStream, withOperations } from "effect-wsmux/MuxStream"
 * import * as Effect from "effect/Effect"
 *
 * export const counted = (stream: MuxStream, count: (bytes: number) => void) =>
 *   withOperations(stream, {
 *     write: (chunk) => Effect.tap(stream.write(chunk), () => Effect.sync(() => count(chunk.byteLength)))
 *   })
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const withOperations = (
  stream: MuxStream,
  operations: { readonly [K in Exclude<keyof MuxStream, TypeId>]?: MuxStream[K] }
): MuxStream => ({
  [TypeId]: TypeId,
  id: stream.id,
  localAddress: stream.localAddress,
  remoteAddress: stream.remoteAddress,
  readable: stream.readable,
  writable: stream.writable,
  read: stream.read,
  write: stream.write,
  writeAll: stream.writeAll,
  end: stream.end,
  setReadDeadline: stream.setReadDeadline,
  setWriteDeadline: stream.setWriteDeadline,
  setDeadline: stream.setDeadline,
  ...operations
})

/**
 * Whether it is a stream. A copy by `{ ...stream }` is none, since it lacks the operations.
 *
 * @since 0.1.0
 * @category guards
 */
export const isMuxStream = (u: unknown): u is MuxStream => Predicate.hasProperty(u, TypeId) && "read" in u
