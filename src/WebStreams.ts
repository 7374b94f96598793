/**
 * A stream of a session as a pair of web streams, and a pair of web streams as a `ByteStream`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ByteStream from "./ByteStream.js"
import { bytesOf, byteStreamOf, Operation, readableOf, writableOf } from "./internal/adapter/webStreams.js"
import { toCallbacks } from "./internal/session/callbacks.js"
import { forkInterruptibly } from "./internal/sync/forkInterruptibly.js"
import type { MuxStream } from "./MuxStream.js"
import { DuplexFailure } from "./WsmuxError.js"

/**
 * A connection as `fetch`, service workers and Deno take one.
 *
 * @since 0.1.0
 * @category models
 */
export interface WebStreams {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Whether `readable` is a byte stream, which can fill the reader's own buffer (BYOB). Default false: a byte stream
   * detaches the buffers of its chunks, so each chunk must be copied.
   */
  readonly byob?: boolean | undefined
}

/**
 * Makes web streams of a stream.
 *
 * - `readable` reads nothing ahead: the window is the only buffer.
 * - Closing `writable` sends FIN. Aborting `writable` resets this direction. Cancelling `readable` tells the peer that
 *   nothing more is read, and its writes fail. A peer without the dialect is told neither. The scope closes the stream.
 * - A reset by the peer errors the stream of its direction.
 * - `writable` also takes an `ArrayBuffer` and any view. A chunk of another type breaks `writable`, and keeps the
 *   stream.
 * - Both fail with the errors of the stream, and with `AbortError` when the scope closes first.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { Session } from "effect-wsmux/Session"
 * import * as WebStreams from "effect-wsmux/WebStreams"
 *
 * // uploads a file that the user of a page has picked
 * export const upload = (file: Blob) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const session = yield* Session
 *     const { writable } = yield* WebStreams.fromMuxStream(yield* session.open())
 *     yield* Effect.promise(() => file.stream().pipeTo(writable))
 *   }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromMuxStream = (
  stream: MuxStream,
  options: Options = {}
): Effect.Effect<WebStreams, never, Scope.Scope> =>
  Effect.gen(function*() {
    const runtime = yield* Effect.runtime<never>()
    const operations = toCallbacks(stream, forkInterruptibly(runtime))
    const [reading, writing] = [new Operation(), new Operation()]
    const readable = options.byob === true ? byteStreamOf(operations, reading) : readableOf(operations, reading)
    const streams = { readable, writable: writableOf(operations, writing) }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        const reason = new DOMException("WebStreams: the scope has closed", "AbortError")
        for (const operation of [reading, writing]) operation.stop(reason)
      })
    )
    return streams
  })

/**
 * Makes a `ByteStream` of web streams, and locks them. When the scope closes, a stream that has not ended is cancelled
 * or aborted, and the locks are released.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 * import * as WebStreams from "effect-wsmux/WebStreams"
 *
 * // joins a stream of a session with web streams, such as a WebTransport stream of the browser
 * export const relay = (stream: MuxStream, connection: WebStreams.WebStreams) =>
 *   Effect.scoped(Effect.flatMap(WebStreams.toByteStream(connection), (other) => ByteStream.join(stream, other)))
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const toByteStream = (
  { readable, writable }: WebStreams
): Effect.Effect<ByteStream.ByteStream<DuplexFailure>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const reader = yield* Effect.acquireRelease(
      Effect.sync(() => readable.getReader()),
      (reader) => Effect.sync(() => releaseLock(reader, reader.cancel()))
    )
    const writer = yield* Effect.acquireRelease(
      Effect.sync(() => writable.getWriter()),
      (writer) => Effect.sync(() => releaseLock(writer, writer.abort()))
    )
    writer.closed.catch(() => {}) // writes report this failure
    /** An interrupted read, whose result the next read takes. Web streams cannot cancel one read. */
    let pending: Promise<ReadableStreamReadResult<Uint8Array>> | undefined
    const read = tryPromise(() => pending ??= reader.read()).pipe(
      Effect.tap(() => Effect.sync(() => pending = undefined)),
      Effect.flatMap(({ done, value }) =>
        done ? Effect.succeedNone : Effect.try({ try: () => Option.some(bytesOf(value)), catch: failureOf })
      )
    )
    return ByteStream.make({
      read,
      write: (chunk) => tryPromise(() => writer.write(chunk)),
      end: tryPromise(() => writer.close())
    })
  })

/** Does not wait for `cancel` or `abort`, since the other side may never answer. */
const releaseLock = (holder: { releaseLock(): void }, ending: Promise<void>): void => {
  ending.catch(() => {})
  holder.releaseLock()
}

const tryPromise = <A>(evaluate: () => Promise<A>): Effect.Effect<A, DuplexFailure> =>
  Effect.tryPromise({ try: evaluate, catch: failureOf })

const failureOf = (cause: unknown): DuplexFailure =>
  new DuplexFailure({ detail: cause instanceof Error ? cause.message : String(cause), cause })
