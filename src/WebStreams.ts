/**
 * A stream of a session as a pair of web streams, and a pair of web streams in the place of a stream.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
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
    const [reading, writing] = [new Half(runtime), new Half(runtime)]
    const streams = { readable: readableOf(stream, reading), writable: writableOf(stream, writing) }
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

/** Runs what one half does, one effect at a time. */
class Half {
  /** Told when it is stopped by the scope. */
  onStop: (reason: unknown) => void = () => {}
  readonly #fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>
  #fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  #stopped: { readonly reason: unknown } | undefined

  constructor(runtime: Runtime.Runtime<never>) {
    this.#fork = Runtime.runFork(runtime)
  }

  /** Gives what is there at once, or a promise. Throws or rejects with the error itself, so that it can be told by its tag. */
  run<A, E>(effect: Effect.Effect<A, E>): A | Promise<A> {
    const fiber = this.#fork(effect)
    const exit = fiber.unsafePoll()
    if (exit !== null) return this.#valueOf(exit)
    this.#fiber = fiber
    return new Promise((resolve) =>
      fiber.addObserver((exit) => {
        this.#fiber = undefined
        resolve(Exit.isSuccess(exit) ? exit.value : Promise.reject(this.#errorOf(exit.cause)))
      })
    )
  }

  /** Interrupts what it does, which fails with the reason then. */
  halt(reason: unknown): void {
    this.#stopped ??= { reason }
    this.#fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  stop(reason: unknown): void {
    this.halt(reason)
    this.onStop(reason)
  }

  #valueOf<A, E>(exit: Exit.Exit<A, E>): A {
    if (Exit.isSuccess(exit)) return exit.value
    throw this.#errorOf(exit.cause)
  }

  #errorOf(cause: Cause.Cause<unknown>): unknown {
    return this.#stopped !== undefined ? this.#stopped.reason : Cause.squash(cause)
  }
}

const readableOf = (stream: MuxStream, half: Half): ReadableStream<Uint8Array> => {
  /** What did not fit into the reader's buffer. */
  let rest: Uint8Array | undefined
  const give = (controller: ReadableByteStreamController, chunk: Uint8Array | undefined): void => {
    const request = controller.byobRequest
    const view = request?.view as Uint8Array | null | undefined
    rest = undefined
    if (chunk === undefined) {
      controller.close()
      request?.respond(0)
    } else if (view == null) {
      controller.enqueue(new Uint8Array(chunk)) // takes its whole buffer away, which other messages may lie in, too
    } else {
      const size = Math.min(view.byteLength, chunk.byteLength)
      new Uint8Array(view.buffer, view.byteOffset, size).set(chunk.subarray(0, size))
      if (size < chunk.byteLength) rest = chunk.subarray(size)
      request!.respond(size)
    }
  }
  return new ReadableStream({
    type: "bytes",
    start: (controller) => {
      half.onStop = (reason) => controller.error(reason)
    },
    pull: (controller) => {
      if (rest !== undefined) return give(controller, rest)
      const next = half.run(stream.read)
      return next instanceof Promise
        ? next.then((chunk) => give(controller, Option.getOrUndefined(chunk)))
        : give(controller, Option.getOrUndefined(next))
    },
    cancel: (reason) => half.halt(reason)
  }, { highWaterMark: 0 })
}

const writableOf = (stream: MuxStream, half: Half): WritableStream<Uint8Array> =>
  new WritableStream({
    start: (controller) => {
      half.onStop = (reason) => controller.error(reason)
      controller.signal.addEventListener("abort", () => half.halt(controller.signal.reason), { once: true })
    },
    write: (chunk) => half.run(stream.write(chunk)),
    close: () => half.run(stream.end)
  })
