/**
 * A stream of a session carries bytes both ways, each way with its own flow control and its own end.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Mailbox from "effect/Mailbox"
import type * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Sink from "effect/Sink"
import type * as Stream from "effect/Stream"
import type { Address } from "./Address.js"
import * as internal from "./internal/session/handle.js"
import * as resetCode from "./internal/wire/resetCode.js"
import type { EndError, InvalidDeadline, ReadError, WriteError } from "./WsmuxError.js"

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
 * A point in time by the program's `Clock`: milliseconds since the epoch, a `Date`, a `DateTime`, or another input of
 * `DateTime.make`. `undefined` and `Infinity` clear the deadline.
 *
 * @since 0.1.0
 * @category models
 */
export type Deadline = DateTime.DateTime.Input | undefined

/**
 * @since 0.2.0
 * @category models
 */
export type Metadata = Readonly<Record<string, string>>

/**
 * @since 0.2.0
 * @category models
 */
export interface ResetOptions {
  readonly code?: number | undefined
  readonly reason?: string | undefined
}

/**
 * The reset codes of this package. Programs use codes from 256 on.
 *
 * - `NoError`: the end of a stream that was left before its last byte, without a failure
 * - `Cancelled`: the owner was interrupted
 * - `Failed`: the owner failed
 * - `Refused`: a limit of the peer was reached
 * - `NoHandler`: no handler takes the label
 * - `Expired`: no acceptor took the stream in time
 * - `Draining`: the session takes no new streams
 *
 * @since 0.2.0
 * @category constants
 */
export const ResetCode: typeof resetCode.ResetCode = resetCode.ResetCode

/**
 * The members of a stream. A session's streams compute them by getters, so a copy by `{ ...stream }` has none of them.
 * TypeScript leaves members of a class out of such a copy, so its type has none of them either.
 */
declare abstract class Members {
  /** The id, unique among the session's streams: odd if the client opened the stream, even if the server did. */
  abstract get id(): number

  /**
   * The label that the opener gave, for the choice of a handler. Empty without one. The label of a peer's stream is
   * unchecked text of at most 256 bytes.
   *
   * @since 0.2.0
   */
  abstract get label(): string

  /**
   * The metadata that the opener gave: named texts, like the headers of an HTTP request. Empty without any. That of a
   * peer's stream is unchecked text of at most 4,096 bytes.
   *
   * @since 0.2.0
   */
  abstract get metadata(): Metadata

  /** The session's own address. */
  abstract get localAddress(): Address

  /** The address of the session's peer. */
  abstract get remoteAddress(): Address

  /**
   * Emits the bytes from the peer, one chunk for each pull. Reading bytes returns their credit, in halves of the
   * window.
   *
   * Completes only at the peer's FIN. A lost session is a `BrokenPipe`. Run again, the stream continues where the last
   * run stopped.
   *
   * To read a header, use `ByteStream.buffered`: `Stream.peel` turns a later failure of the remaining bytes into a
   * defect.
   */
  abstract get readable(): Stream.Stream<Uint8Array, ReadError>

  /**
   * The same bytes as `readable` and `read`, as a queue with an end: the chunks that have arrived and are not yet read.
   *
   * The queue is bounded in bytes by the stream's receive window. Taking chunks returns their credit to the peer. The
   * chunks belong to the taker. Small chunks may be merged, so chunks are not the peer's writes.
   *
   * - `take` takes one chunk. At the peer's FIN `take` fails with `NoSuchElementException`.
   * - `takeAll` takes all chunks, at least one before the end. `done` tells that the peer's FIN follows them.
   * - `takeN` takes `n` chunks. The result has fewer at the end, at the read deadline, and when the window is full.
   * - `clear` takes the chunks that are there, without waiting.
   * - `size` counts the chunks: none once the peer's FIN has been read or the stream has failed.
   * - `await` waits until the peer's FIN has been read. Read deadlines do not concern `await`.
   *
   * Failures come after the chunks that arrived before them. Interruption while waiting takes nothing. As with `read`,
   * a timeout may drop a chunk that arrives at the same moment.
   * `Mailbox.toStream(stream.inbox)` emits all chunks that are there at each pull; a consumer that stops early loses
   * the rest of them, unlike with `readable`.
   *
   * `Mailbox` is experimental in Effect 3. Effect's `Queue.bounded` counts elements instead of bytes, and its version
   * 3.22.4 loses an element when the taker to whom it was handed is interrupted.
   *
   * @since 0.2.0
   */
  abstract get inbox(): Mailbox.ReadonlyMailbox<Uint8Array, ReadError>

  /**
   * Writes its input, and sends FIN when the input ends. When the input fails or the sink is interrupted, the sink
   * resets this direction. A peer without the dialect gets no FIN then.
   */
  abstract get writable(): Sink.Sink<void, Uint8Array, never, WriteError>

  /**
   * Reads the next chunk: none at the peer's FIN. The chunk belongs to the caller. Interruption while waiting takes
   * nothing. To bound the wait, prefer `setReadDeadline`: a timeout may drop a chunk that arrives at the same moment.
   */
  abstract get read(): Effect.Effect<Option.Option<Uint8Array>, ReadError>

  /**
   * Writes a chunk. Completes when its last byte has been handed to the socket, so a slow peer slows the writer. The
   * chunk must not change until then.
   *
   * Writes of several fibers do not interleave. A failure tells how many bytes of the write had been handed to the
   * socket. Interruption leaves out the bytes that have not been sent.
   */
  abstract get write(): (chunk: Uint8Array) => Effect.Effect<void, WriteError>

  /** Writes several chunks as one write. Small chunks share frames. */
  abstract get writeAll(): (chunks: Iterable<Uint8Array>) => Effect.Effect<void, WriteError>

  /**
   * Sends FIN behind the writes that wait: the peer reads to the end, and this end may still read. Later writes fail
   * with `BrokenPipe`. Ending again does nothing. Interrupting the wait does not take the FIN back.
   *
   * A waiting write may still be interrupted, or exceed its deadline. The end then resets this direction by
   * `ResetCode.Cancelled` and fails, because the peer would take a FIN for the end of all bytes. A peer without the
   * dialect gets the FIN all the same.
   */
  abstract get end(): Effect.Effect<void, EndError>

  /**
   * Ends both directions abnormally, as far as they have not ended. Reads and writes of both ends fail with
   * `StreamReset`, at the other end behind the bytes that had arrived there. Bytes that wait to be sent are dropped. A
   * writer of the peer stops within a round trip.
   *
   * `code` is a uint32: one of `ResetCode`, or a code of the program from 256 on. Default `ResetCode.Cancelled`. The
   * peer gets at most 128 bytes of `reason`.
   *
   * A peer without the dialect sees a clean end, and its bytes are discarded, as when the stream's scope closes.
   *
   * @since 0.2.0
   */
  abstract get reset(): (options?: ResetOptions) => Effect.Effect<void>

  /**
   * Sets the time from which a read without bytes fails with `ReadTimeout`, until the deadline is moved or cleared.
   * Waiting reads fail, too. Bytes that have arrived can still be read. Fails with `InvalidDeadline` for a time in the
   * past, which changes nothing.
   */
  abstract get setReadDeadline(): (deadline: Deadline) => Effect.Effect<void, InvalidDeadline>

  /**
   * Sets the time from which writes fail with `WriteTimeout`, until the deadline is moved or cleared. Waiting writes
   * fail, too. Fails with `InvalidDeadline` for a time in the past, which changes nothing.
   */
  abstract get setWriteDeadline(): (deadline: Deadline) => Effect.Effect<void, InvalidDeadline>

  /** Sets the read deadline and the write deadline. */
  abstract get setDeadline(): (deadline: Deadline) => Effect.Effect<void, InvalidDeadline>
}

/**
 * A stream of a session, owned by the scope that opened or accepted it.
 *
 * When that scope closes after success, the stream sends FIN unless it has sent one, and tells the peer that nothing
 * more is read: the peer's writes fail with `StreamReset`. When the scope closes by a failure or an interruption, or
 * while bytes wait to be sent, the stream is reset.
 *
 * A peer without the dialect, such as a Go peer, knows no reset: in both cases the stream sends FIN. Bytes that still
 * arrive are discarded, up to the session's `discardLimit`. Their credit is returned, so that the peer's writer does
 * not wait. Such a peer cannot tell a stream that was left from a stream that was ended. A protocol to which that
 * matters must mark its end.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 *
 * // sends all bytes back, then FIN
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
 * Returns the stream with some operations replaced, such as a `write` that counts. A copy by `{ ...stream, write }`
 * would lose the other operations.
 *
 * Operations do not use each other. After `read` is replaced, `readable` and `inbox` are still those of the given
 * stream.
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
  label: stream.label,
  metadata: stream.metadata,
  localAddress: stream.localAddress,
  remoteAddress: stream.remoteAddress,
  readable: stream.readable,
  inbox: stream.inbox,
  writable: stream.writable,
  read: stream.read,
  write: stream.write,
  writeAll: stream.writeAll,
  end: stream.end,
  reset: stream.reset,
  setReadDeadline: stream.setReadDeadline,
  setWriteDeadline: stream.setWriteDeadline,
  setDeadline: stream.setDeadline,
  ...operations
})

/**
 * Whether a value is a stream. A copy by `{ ...stream }` is none, because it lacks the operations.
 *
 * @since 0.1.0
 * @category guards
 */
export const isMuxStream = (u: unknown): u is MuxStream => Predicate.hasProperty(u, TypeId) && "read" in u
