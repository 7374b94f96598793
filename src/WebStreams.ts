/**
 * A stream of a session as a pair of web streams, and a pair of web streams in the place of a stream.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ByteStream from "./ByteStream.js"
import { forkInterruptibly } from "./internal/adapter/forkInterruptibly.js"
import { bytesOf, byteStreamOf, Half, readableOf, writableOf } from "./internal/adapter/webStreams.js"
import { toCallbacks } from "./internal/session/callbacks.js"
import type { MuxStream } from "./MuxStream.js"
import { DuplexFailure } from "./WsmuxError.js"

/**
 * What `fetch`, service workers, Deno and others take for a connection.
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
   * Whether `readable` is a byte stream, which can fill a buffer of the reader's (BYOB). Default false: byte streams take
   * the buffers of their chunks away, so each chunk has to be copied.
   */
  readonly byob?: boolean | undefined
}

/**
 * A stream as web streams.
 *
 * - Nothing is read ahead: the window stays the only buffer.
 * - Closing `writable` sends FIN. Aborting it, or cancelling `readable`, sends none: the stream is left when its scope
 *   closes, as ever.
 * - `writable` takes an `ArrayBuffer` and any view, too; what is no bytes breaks it, and not the stream.
 * - Both fail with the errors of the stream. When the scope closes first, they fail with `AbortError`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { Session } from "effect-wsmux/Session"
 * import * as WebStreams from "effect-wsmux/WebStreams"
 *
 * // a file that a page has picked
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
    const [reading, writing] = [new Half(), new Half()]
    const readable = options.byob === true ? byteStreamOf(operations, reading) : readableOf(operations, reading)
    const streams = { readable, writable: writableOf(operations, writing) }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        const reason = new DOMException("the scope of the stream is closed", "AbortError")
        for (const half of [reading, writing]) half.stop(reason)
      })
    )
    return streams
  })

/**
 * Web streams as a `ByteStream`, to read, to write and to join with a stream. They are locked from now on; when the scope
 * closes, what has not ended is cancelled or aborted, and the locks are released.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 * import * as WebStreams from "effect-wsmux/WebStreams"
 *
 * // a stream of a session joined with whatever comes as web streams, such as a WebTransport stream of the browser
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
      (reader) => Effect.sync(() => letGo(reader, reader.cancel()))
    )
    const writer = yield* Effect.acquireRelease(
      Effect.sync(() => writable.getWriter()),
      (writer) => Effect.sync(() => letGo(writer, writer.abort()))
    )
    writer.closed.catch(() => {}) // its failure shows where it is written to
    /** A read that was interrupted, which the next one takes over: web streams have no way to take it back. */
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

/** Nobody waits for the other side to hear of it: it may be stuck for ever. */
const letGo = (holder: { releaseLock(): void }, goodbye: Promise<void>): void => {
  goodbye.catch(() => {})
  holder.releaseLock()
}

const tryPromise = <A>(evaluate: () => Promise<A>): Effect.Effect<A, DuplexFailure> =>
  Effect.tryPromise({ try: evaluate, catch: failureOf })

const failureOf = (cause: unknown): DuplexFailure =>
  new DuplexFailure({ detail: cause instanceof Error ? cause.message : String(cause), cause })
