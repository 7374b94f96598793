/**
 * A stream of a session as a pair of web streams, and a pair of web streams in the place of a stream.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as ByteStream from "./ByteStream.js"
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
 * A stream as web streams.
 *
 * - Nothing is read ahead: the window stays the only buffer, and `readable` is a byte stream, which can fill a buffer of the
 *   reader's (BYOB).
 * - Closing `writable` sends FIN. Aborting it, or cancelling `readable`, sends none: the stream is left when its scope
 *   closes, as ever.
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
export const fromMuxStream = (stream: MuxStream): Effect.Effect<WebStreams, never, Scope.Scope> =>
  Effect.gen(function*() {
    const runtime = yield* Effect.runtime<never>()
    const closed = new AbortController()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => closed.abort(new DOMException("the scope of the stream is closed", "AbortError")))
    )
    const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => toPromise(runtime, effect, closed.signal)
    return { readable: readableOf(stream, run, closed.signal), writable: writableOf(stream, run, closed.signal) }
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
      Effect.map(({ value }) => Option.fromNullable(value))
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
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) => new DuplexFailure({ detail: cause instanceof Error ? cause.message : String(cause), cause })
  })

type Run = <A, E>(effect: Effect.Effect<A, E>) => Promise<A>

const readableOf = (stream: MuxStream, run: Run, closed: AbortSignal): ReadableStream<Uint8Array> => {
  /** What did not fit into the reader's buffer. */
  let rest: Uint8Array | undefined
  return new ReadableStream({
    type: "bytes",
    start: (controller) => closed.addEventListener("abort", () => controller.error(closed.reason), { once: true }),
    pull: async (controller) => {
      const chunk = rest ??
        (await run(Effect.map(stream.read, (next) => next._tag === "Some" ? next.value : undefined)))
      rest = undefined
      const request = controller.byobRequest
      const view = request?.view as Uint8Array | null | undefined
      if (chunk === undefined) {
        controller.close()
        request?.respond(0)
      } else if (view == null) {
        controller.enqueue(chunk as Uint8Array<ArrayBuffer>)
      } else {
        const size = Math.min(view.byteLength, chunk.byteLength)
        new Uint8Array(view.buffer, view.byteOffset, size).set(chunk.subarray(0, size))
        if (size < chunk.byteLength) rest = chunk.subarray(size)
        request!.respond(size)
      }
    }
  }, { highWaterMark: 0 })
}

const writableOf = (stream: MuxStream, run: Run, closed: AbortSignal): WritableStream<Uint8Array> =>
  new WritableStream({
    start: (controller) => closed.addEventListener("abort", () => controller.error(closed.reason), { once: true }),
    write: (chunk) => run(stream.write(chunk)),
    close: () => run(stream.end)
  })

/** Rejects with the error itself, so that it can be told by its tag. */
const toPromise = <A, E>(
  runtime: Runtime.Runtime<never>,
  effect: Effect.Effect<A, E>,
  signal: AbortSignal
): Promise<A> =>
  Runtime.runPromiseExit(runtime)(effect, { signal }).then((exit) => {
    if (Exit.isSuccess(exit)) return exit.value
    throw signal.aborted ? signal.reason : Cause.squash(exit.cause)
  })
