/**
 * Bytes both ways with an end each way: what a `MuxStream` is to whoever joins it with something else. Node's duplexes and
 * web streams become one by `NodeDuplex.toByteStream` and `WebStreams.toByteStream`.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { ReadAhead } from "./internal/adapter/buffered.js"
import { Patience } from "./internal/adapter/stallTimeout.js"
import { setOrigin } from "./internal/adapter/streamOrigin.js"
import type { ReadError, Stalled, WriteError } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Operations<out R, out W = R> {
  /** The next chunk, or none at the end. Interrupted while waiting, it takes nothing. */
  readonly read: Effect.Effect<Option.Option<Uint8Array>, R>
  /** Completes when the other end can take more. */
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, W>
  /** Sends the end; reading may go on. */
  readonly end: Effect.Effect<void, W>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ByteStream<out R, out W = R> extends Operations<R, W> {
  /** The bytes up to the end; a loss is a failure. */
  readonly readable: Stream.Stream<Uint8Array, R>
  /** Writes what it is given, and sends the end when its input ends; not when that fails or is interrupted. */
  readonly writable: Sink.Sink<void, Uint8Array, never, W>
}

/**
 * Gives plain operations a `Stream` and a `Sink`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <R, W = R>(operations: Operations<R, W>): ByteStream<R, W> => ({
  ...operations,
  readable: Stream.repeatEffectOption(
    Effect.flatMap(
      Effect.mapError(operations.read, Option.some),
      Option.match({ onNone: () => Effect.fail(Option.none()), onSome: Effect.succeed })
    )
  ),
  writable: Sink.mapEffect(Sink.forEach(operations.write), () => operations.end)
})

/**
 * A stream ended in the middle of a line, or before the bytes that were `wanted`. Those that came are still to be read.
 *
 * @since 0.2.0
 * @category errors
 */
export class UnexpectedEnd extends Data.TaggedError("UnexpectedEnd")<{
  readonly wanted?: number | undefined
  readonly received: number
}> {
  override get message(): string {
    const where = this.wanted === undefined ? "in the middle of a line" : `before ${this.wanted} bytes`
    return `unexpected end: the stream ended ${where}, after ${this.received} bytes`
  }
}

/**
 * A line is longer than its reader takes. Its bytes are still to be read.
 *
 * @since 0.2.0
 * @category errors
 */
export class LineTooLong extends Data.TaggedError("LineTooLong")<{ readonly maxBytes: number }> {
  override get message(): string {
    return `line too long: it has no end within ${this.maxBytes} bytes`
  }
}

/**
 * A stream that is read in parts of the reader's choice. A read that fails or is interrupted leaves its bytes to the next
 * read, so does `unread`. One fiber reads at a time.
 *
 * @since 0.2.0
 * @category models
 */
export interface Buffered<out R, out W = R> extends ByteStream<R, W> {
  /** Reads so many bytes; fails with `UnexpectedEnd` where the stream ends before. */
  readonly readExactly: (size: number) => Effect.Effect<Uint8Array, R | UnexpectedEnd>
  /**
   * Reads a line of UTF-8 without its `\n` or `\r\n`, or none at the end. Fails with `LineTooLong` where a line is longer
   * than its bound, and with `UnexpectedEnd` where the stream ends in the middle of one.
   */
  readonly readLine: (
    options?: LineOptions
  ) => Effect.Effect<Option.Option<string>, R | UnexpectedEnd | LineTooLong>
  /** Puts bytes back, before what is read next. */
  readonly unread: (bytes: Uint8Array) => Effect.Effect<void>
}

/**
 * @since 0.2.0
 * @category models
 */
export interface LineOptions {
  /** The longest line, in bytes without its `\n`. Default 8 KiB. */
  readonly maxBytes?: number | undefined
}

/**
 * Makes a stream readable by lines and by sizes, for a header and what follows it. From then on the caller reads only
 * what this answers. Where a header is read by `Stream.peel` instead, Effect turns a later failure of the stream into a
 * defect.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Option from "effect/Option"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 * import * as NodeDuplex from "effect-wsmux/NodeDuplex"
 * import * as Net from "node:net"
 *
 * const ports: Readonly<Record<string, number>> = { postgres: 5432, redis: 6379 }
 *
 * // a handler for Session.run: the first line names a service, everything behind it goes there
 * export const toService = (stream: MuxStream) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const buffered = ByteStream.buffered(stream)
 *     const name = yield* buffered.readLine({ maxBytes: 64 })
 *     const port = Option.isSome(name) ? ports[name.value] : undefined
 *     if (port === undefined) return yield* Effect.fail("unknown service")
 *     const socket = yield* NodeDuplex.toByteStream(() => Net.connect({ port, allowHalfOpen: true }))
 *     yield* ByteStream.join(buffered, socket)
 *   }))
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const buffered = <R, W>(stream: Operations<R, W>): Buffered<R, W> => {
  const ahead = new ReadAhead(stream, { LineTooLong, UnexpectedEnd })
  return setOrigin({
    ...make({ read: ahead.read, write: stream.write, end: stream.end }),
    readExactly: (size: number) => ahead.readExactly(size),
    readLine: (options?: LineOptions) => ahead.readLine(options),
    unread: (bytes: Uint8Array) => Effect.sync(() => ahead.unread(bytes))
  }, stream)
}

/**
 * Joins a stream of a session with something else: bytes, back-pressure and ends pass both ways. Completes when both ways
 * have ended, and fails when either does; whoever owns the two leaves the stream and resets the other then. Where only a
 * write to the other fails, the bytes that the other still gives are passed on first.
 *
 * This wire has no reset: a peer that has gone looks like one that has ended and, some time later, takes nothing more. So
 * it fails with `Stalled` when the stream's peer has ended its half and a write waits for longer than `patience`, one minute
 * unless told otherwise. A peer that returns credit meanwhile is waited for.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 * import * as NodeDuplex from "effect-wsmux/NodeDuplex"
 * import * as Net from "node:net"
 *
 * // a handler for Session.run: each stream becomes a TCP connection
 * export const toPostgres = (stream: MuxStream) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const socket = yield* NodeDuplex.toByteStream(() => Net.connect({ port: 5432, allowHalfOpen: true }))
 *     yield* ByteStream.join(stream, socket)
 *   }))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const join = <E, R = ReadError, W = WriteError>(
  stream: Operations<R, W>,
  other: Operations<E>,
  options: { readonly patience?: Duration.DurationInput | undefined } = {}
): Effect.Effect<void, E | R | W | Stalled> =>
  Effect.suspend(() => {
    const patience = new Patience(options.patience, stream)
    /** Why the other takes nothing more. */
    let lost: Effect.Effect<never, E> | undefined
    /** Whether the other has given everything. */
    let isDone = false
    const outbound: Effect.Effect<void, E | W> = Effect.flatMap(other.read, (chunk) => {
      if (chunk._tag === "None") {
        // an end behind a failed write may be a loss
        return lost ?? Effect.map(stream.end, () => {
          isDone = true
        })
      }
      return Effect.zipRight(patience.during(stream.write(chunk.value)), outbound)
    })
    /** Waits until the other has given everything, or nothing for too long. */
    const outlast = (failure: E) => {
      lost = Effect.fail(failure)
      return isDone ? lost : Effect.zipRight(patience.untilIdle, lost)
    }
    const inbound: Effect.Effect<void, E | R> = Effect.flatMap(stream.read, (chunk) => {
      if (chunk._tag === "Some") {
        return Effect.matchEffect(other.write(chunk.value), { onFailure: outlast, onSuccess: () => inbound })
      }
      patience.peerEnded = true
      return Effect.catchAll(other.end, outlast)
    })
    return Effect.raceFirst(
      Effect.all([outbound, inbound], { concurrency: 2, discard: true }),
      patience.exhausted
    )
  })
