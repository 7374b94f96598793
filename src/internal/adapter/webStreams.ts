import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { ResetCode } from "../../MuxStream.js"
import type { ReadError } from "../../WsmuxError.js"
import type { Callbacks } from "../session/callbacks.js"
import type { Cancel, Done } from "../sync/later.js"

/** Runs the operations of one web stream, one at a time. */
export class Operation {
  /** Called when the scope closes. */
  onStop: (reason: unknown) => void = () => {}
  /** Cancels the running operation. */
  #cancel: ((reason: unknown) => void) | undefined

  /**
   * Returns the result of an operation that completes at once, or a promise. Throws or rejects with the error itself,
   * so that callers can test its tag.
   */
  run<A, E>(begin: (done: Done<A, E>) => Cancel): A | Promise<A> {
    let exit: Exit.Exit<A, E> | undefined
    let settle = (done: Exit.Exit<A, E>): void => {
      exit = done
    }
    const cancel = begin((exit) => settle(exit))
    if (exit !== undefined) return valueOf(exit)
    return new Promise((resolve, reject) => {
      settle = (exit) => {
        this.#cancel = undefined
        if (Exit.isSuccess(exit)) resolve(exit.value)
        else reject(Cause.squash(exit.cause))
      }
      this.#cancel = (reason) => {
        cancel()
        reject(reason)
      }
    })
  }

  /** Interrupts the running operation, which then fails with the reason. */
  interrupt(reason: unknown): void {
    this.#cancel?.(reason)
    this.#cancel = undefined
  }

  stop(reason: unknown): void {
    this.interrupt(reason)
    this.onStop(reason)
  }
}

const valueOf = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw Cause.squash(exit.cause)
}

export const readableOf = (stream: Callbacks, operation: Operation): ReadableStream<Uint8Array> =>
  new ReadableStream<Uint8Array>({
    ...reads(stream, operation, (controller, chunk) => controller.enqueue(chunk))
  }, { highWaterMark: 0 })

export const byteStreamOf = (stream: Callbacks, operation: Operation): ReadableStream<Uint8Array> => {
  /** The bytes that did not fit into the reader's buffer. */
  let rest: Uint8Array | undefined
  const give = (controller: ReadableByteStreamController, chunk: Uint8Array): void => {
    const request = controller.byobRequest
    const view = request?.view as Uint8Array | null | undefined
    rest = undefined
    if (view == null) return controller.enqueue(new Uint8Array(chunk)) // a copy, as the buffer may hold others
    const size = Math.min(view.byteLength, chunk.byteLength)
    new Uint8Array(view.buffer, view.byteOffset, size).set(chunk.subarray(0, size))
    if (size < chunk.byteLength) rest = chunk.subarray(size)
    request!.respond(size)
  }
  const source = reads(stream, operation, give)
  return new ReadableStream({
    ...source,
    type: "bytes",
    pull: (controller: ReadableByteStreamController) =>
      rest === undefined ? source.pull(controller) : give(controller, rest)
  }, { highWaterMark: 0 })
}

/** Reads one chunk for each pull. */
const reads = <C extends ReadableStreamController<Uint8Array>>(
  stream: Callbacks,
  operation: Operation,
  give: (controller: C, chunk: Uint8Array) => void
) => {
  const take = (controller: C, next: Option.Option<Uint8Array>): void => {
    if (Option.isSome(next)) return give(controller, next.value)
    controller.close()
    if ("byobRequest" in controller) controller.byobRequest?.respond(0)
  }
  return {
    start: (controller: C): void => {
      operation.onStop = (reason) => controller.error(reason)
    },
    pull: (controller: C): void | Promise<void> => {
      const now = stream.unsafeRead()
      if (now !== undefined) return take(controller, valueOf(now))
      const next = operation.run<Option.Option<Uint8Array>, ReadError>((done) => stream.read(done))
      return Promise.resolve(next).then((next) => take(controller, next))
    },
    cancel: (reason: unknown): void => {
      operation.interrupt(reason)
      stream.resets?.stopReading(cancelled)
    }
  }
}

export const writableOf = (stream: Callbacks, operation: Operation): WritableStream<Uint8Array> =>
  new WritableStream({
    start: (controller) => {
      operation.onStop = (reason) => controller.error(reason)
      stream.resets?.onPeerReset((reset) => controller.error(reset))
      controller.signal.addEventListener("abort", () => operation.interrupt(controller.signal.reason), { once: true })
    },
    write: (chunk) => {
      const bytes = [bytesOf(chunk)]
      return operation.run((done) => stream.write(bytes, done))
    },
    close: () => operation.run((done) => stream.end(done)),
    abort: () => stream.resets?.resetSending(cancelled)
  })

/** A reason may be any value of the program. Its text stays here. */
const cancelled = { code: ResetCode.Cancelled, reason: "" }

/** Web streams carry any value. Only bytes have a size to count against the window. */
export const bytesOf = (chunk: unknown): Uint8Array => {
  if (chunk instanceof Uint8Array) return chunk
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new TypeError("cannot write a chunk: it is not a Uint8Array, another view, or an ArrayBuffer")
}
