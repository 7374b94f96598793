/**
 * A stream of bytes in both directions, each with its own end. A `MuxStream` is a `ByteStream`.
 * `NodeDuplex.toByteStream` and `WebStreams.toByteStream` make one of a Node duplex and of web streams.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { ReadAhead } from "./internal/adapter/buffered.js"
import { callbacksOf, setCallbacks } from "./internal/adapter/callbacks.js"
import * as exchange from "./internal/adapter/exchange.js"
import { join as joinStreams } from "./internal/adapter/join.js"
import { setOrigin } from "./internal/adapter/streamOrigin.js"
import { unsafeSize } from "./internal/settings/validate.js"
import type { ReadError, Stalled, WriteError } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Operations<out R, out W = R> {
  /** Reads the next chunk. Completes with none at the end. Interruption while waiting takes no bytes. */
  readonly read: Effect.Effect<Option.Option<Uint8Array>, R>
  /** Writes a chunk. Completes when the other end can take more. */
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, W>
  /** Sends the end. Reading may go on. */
  readonly end: Effect.Effect<void, W>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ByteStream<out R, out W = R> extends Operations<R, W> {
  /** Emits the bytes up to the end. Fails at a loss. */
  readonly readable: Stream.Stream<Uint8Array, R>
  /** Writes its input, and sends the end when the input ends. Sends no end when the input fails or is interrupted. */
  readonly writable: Sink.Sink<void, Uint8Array, never, W>
}

/**
 * Makes a `ByteStream` of its three operations.
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
 * A stream that is read as a whole is longer than the reader's limit. The bytes that were read are lost.
 *
 * @since 0.2.0
 * @category errors
 */
export class StreamTooLong extends Data.TaggedError("StreamTooLong")<{ readonly maxBytes: number }> {
  override get message(): string {
    return `stream too long: it has no end within ${this.maxBytes} bytes`
  }
}

/**
 * @since 0.2.0
 * @category models
 */
export interface ReadOptions {
  /** The limit of all bytes up to the end. Default 1 MiB. */
  readonly maxBytes?: number | undefined
}

/**
 * Reads a stream to its end. Fails with `StreamTooLong` when the stream has more than `maxBytes`. A failure or an
 * interruption drops the bytes that were read.
 *
 * A `MuxStream` is read without an Effect `Stream` and without an effect for each chunk. So this costs a short answer
 * a small part of what `Stream.run` costs to start.
 *
 * @since 0.2.0
 * @category reading
 */
export const readAll = <R>(
  stream: Pick<Operations<R>, "read">,
  { maxBytes = 1024 * 1024 }: ReadOptions = {}
): Effect.Effect<Uint8Array, R | StreamTooLong> =>
  Effect.suspend(() =>
    exchange.readAll(
      stream,
      unsafeSize("maxBytes", maxBytes, 0),
      Effect.suspend(() => new StreamTooLong({ maxBytes }))
    )
  )

/**
 * Reads a stream to its end as UTF-8, with the limit and the failures of `readAll`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import * as Session from "effect-wsmux/Session"
 *
 * // sends the text, ends, and reads the whole answer
 * export const ask = (session: Session.Session, text: string) =>
 *   Session.withStream(session, (stream) =>
 *     Effect.zipRight(ByteStream.writeEnd(stream, text), ByteStream.readText(stream)))
 * ```
 *
 * @since 0.2.0
 * @category reading
 */
export const readText = <R>(
  stream: Pick<Operations<R>, "read">,
  options?: ReadOptions
): Effect.Effect<string, R | StreamTooLong> => Effect.map(readAll(stream, options), exchange.decodeText)

/**
 * Reads a stream to its end as lines of UTF-8, without their `\n` or `\r\n`, with the limit and the failures of
 * `readAll`. The last line may lack its `\n`. For a stream without a near end, use `buffered` and its `readLine`.
 *
 * @since 0.2.0
 * @category reading
 */
export const readLines = <R>(
  stream: Pick<Operations<R>, "read">,
  options?: ReadOptions
): Effect.Effect<Array<string>, R | StreamTooLong> => Effect.map(readText(stream, options), exchange.splitLines)

/**
 * Calls a function for each chunk up to the end. Where the function returns an effect, runs it before the next chunk is
 * read, so that a slow effect slows the peer.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 *
 * // sends all bytes back, then FIN
 * export const echo = (stream: MuxStream) =>
 *   Effect.zipRight(ByteStream.forEach(stream, stream.write), stream.end)
 *
 * export const countBytes = (stream: MuxStream) => {
 *   let bytes = 0
 *   return Effect.map(ByteStream.forEach(stream, (chunk) => { bytes += chunk.byteLength }), () => bytes)
 * }
 * ```
 *
 * @since 0.2.0
 * @category reading
 */
export const forEach: {
  <X>(
    step: (chunk: Uint8Array) => X
  ): <R>(stream: Pick<Operations<R>, "read">) => Effect.Effect<void, R | FailureOf<X>, ContextOf<X>>
  <R, X>(
    stream: Pick<Operations<R>, "read">,
    step: (chunk: Uint8Array) => X
  ): Effect.Effect<void, R | FailureOf<X>, ContextOf<X>>
} = dual(
  2,
  <R, X>(stream: Pick<Operations<R>, "read">, step: (chunk: Uint8Array) => X) =>
    exchange.forEach<R, FailureOf<X>, ContextOf<X>>(stream, step)
)

/** The failure and the context of a result that may be an effect. */
type FailureOf<X> = X extends Effect.Effect<infer _A, infer E, infer _R> ? E : never
type ContextOf<X> = X extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

/**
 * Writes the last bytes of a stream, and ends behind them. Text is written as UTF-8. A `MuxStream` sends the bytes and
 * FIN together. Interruption leaves out the bytes that have not been sent, and the end.
 *
 * @since 0.2.0
 * @category writing
 */
export const writeEnd: {
  (data: Uint8Array | string): <W>(stream: Pick<Operations<unknown, W>, "write" | "end">) => Effect.Effect<void, W>
  <W>(stream: Pick<Operations<unknown, W>, "write" | "end">, data: Uint8Array | string): Effect.Effect<void, W>
} = dual(
  2,
  <W>(stream: Pick<Operations<unknown, W>, "write" | "end">, data: Uint8Array | string) =>
    exchange.writeEnd(stream, data)
)

/**
 * A stream ended in the middle of a line, or before the `wanted` bytes. The received bytes can still be read.
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
 * A line is longer than the reader's limit. Its bytes can still be read.
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
 * A stream that is read by lines or by sizes. Only one fiber may read at a time.
 *
 * A read that fails, or is interrupted while it waits, leaves its bytes to the next read. To bound a read of a
 * `MuxStream`, prefer `setReadDeadline`: a timeout may drop bytes that arrive at the same moment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Buffered<out R, out W = R> extends ByteStream<R, W> {
  /** Reads exactly `size` bytes. Fails with `UnexpectedEnd` when the stream ends before. */
  readonly readExactly: (size: number) => Effect.Effect<Uint8Array, R | UnexpectedEnd>
  /**
   * Reads a line of UTF-8, without its `\n` or `\r\n`. Completes with none at the end. Fails with `LineTooLong` when
   * the line is longer than `maxBytes`, and with `UnexpectedEnd` when the stream ends within the line.
   */
  readonly readLine: (
    options?: LineOptions
  ) => Effect.Effect<Option.Option<string>, R | UnexpectedEnd | LineTooLong>
  /** Puts bytes back. The next read takes them first. */
  readonly unread: (bytes: Uint8Array) => Effect.Effect<void>
}

/**
 * @since 0.2.0
 * @category models
 */
export interface LineOptions {
  /** The limit of a line, in bytes without its `\n`. Default 8 KiB. */
  readonly maxBytes?: number | undefined
}

/**
 * Makes a stream readable by lines and by sizes, for a header before other bytes. From then on the caller reads only
 * the result. Unlike `Stream.peel`, it keeps a later failure of the stream a failure: Effect turns that into a defect.
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
 * // a handler for Session.run: the first line names the service that gets the rest of the stream
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
  const derived: Buffered<R, W> = {
    ...make({ read: ahead.read, write: stream.write, end: stream.end }),
    readExactly: (size: number) => ahead.readExactly(size),
    readLine: (options?: LineOptions) => ahead.readLine(options),
    unread: (bytes: Uint8Array) => Effect.sync(() => ahead.unread(bytes))
  }
  setCallbacks(derived, (fork) => ahead.callbacks(callbacksOf(stream, fork)))
  return setOrigin(derived, stream)
}

/**
 * Joins a stream of a session with another stream. Bytes, back-pressure and ends pass in both directions. Completes
 * when both directions have ended. Fails when either fails, and resets the stream then. The owner of the other resets
 * that one. The reset of one session's stream passes to a joined one with its code. When only a write to the other
 * stream fails, the join first passes on the bytes that the other stream still has.
 *
 * A peer without the dialect knows no reset: a peer that has gone looks like a peer that has ended its half and stopped
 * reading. So the join fails with `Stalled` when the peer has ended its half and a write makes no progress for
 * `stallTimeout`, 1 minute by default. A peer that returns credit meanwhile keeps the join.
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
  options: { readonly stallTimeout?: Duration.DurationInput | undefined } = {}
): Effect.Effect<void, E | R | W | Stalled> => joinStreams(stream, other, options.stallTimeout)
