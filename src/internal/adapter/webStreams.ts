import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Callbacks, Cancel, Done } from "../session/callbacks.js"

/** Runs what one half does, one operation at a time. */
export class Half {
  /** Told when it is stopped by the scope. */
  onStop: (reason: unknown) => void = () => {}
  /** Gives up the operation that runs. */
  #giveUp: ((reason: unknown) => void) | undefined

  /** Gives what is there at once, or a promise. Throws or rejects with the error itself, so that it can be told by its tag. */
  run<A, E>(begin: (done: Done<A, E>) => Cancel): A | Promise<A> {
    let exit: Exit.Exit<A, E> | undefined
    let settle = (done: Exit.Exit<A, E>): void => {
      exit = done
    }
    const cancel = begin((exit) => settle(exit))
    if (exit !== undefined) return valueOf(exit)
    return new Promise((resolve, reject) => {
      settle = (exit) => {
        this.#giveUp = undefined
        if (Exit.isSuccess(exit)) resolve(exit.value)
        else reject(Cause.squash(exit.cause))
      }
      this.#giveUp = (reason) => {
        cancel()
        reject(reason)
      }
    })
  }

  /** Interrupts what it does, which fails with the reason then. */
  halt(reason: unknown): void {
    this.#giveUp?.(reason)
    this.#giveUp = undefined
  }

  stop(reason: unknown): void {
    this.halt(reason)
    this.onStop(reason)
  }
}

const valueOf = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw Cause.squash(exit.cause)
}

export const readableOf = (stream: Callbacks, half: Half): ReadableStream<Uint8Array> =>
  new ReadableStream<Uint8Array>({
    ...reads(stream, half, (controller, chunk) => controller.enqueue(chunk))
  }, { highWaterMark: 0 })

export const byteStreamOf = (stream: Callbacks, half: Half): ReadableStream<Uint8Array> => {
  /** What did not fit into the reader's buffer. */
  let rest: Uint8Array | undefined
  const give = (controller: ReadableByteStreamController, chunk: Uint8Array): void => {
    const request = controller.byobRequest
    const view = request?.view as Uint8Array | null | undefined
    rest = undefined
    if (view == null) return controller.enqueue(new Uint8Array(chunk)) // other messages may lie in the same buffer
    const size = Math.min(view.byteLength, chunk.byteLength)
    new Uint8Array(view.buffer, view.byteOffset, size).set(chunk.subarray(0, size))
    if (size < chunk.byteLength) rest = chunk.subarray(size)
    request!.respond(size)
  }
  const source = reads(stream, half, give)
  return new ReadableStream({
    ...source,
    type: "bytes",
    pull: (controller: ReadableByteStreamController) =>
      rest === undefined ? source.pull(controller) : give(controller, rest)
  }, { highWaterMark: 0 })
}

/** Reads a chunk whenever one is asked for. */
const reads = <C extends ReadableStreamController<Uint8Array>>(
  stream: Callbacks,
  half: Half,
  give: (controller: C, chunk: Uint8Array) => void
) => {
  const take = (controller: C, next: Option.Option<Uint8Array>): void => {
    if (Option.isSome(next)) return give(controller, next.value)
    controller.close()
    if ("byobRequest" in controller) controller.byobRequest?.respond(0)
  }
  return {
    start: (controller: C): void => {
      half.onStop = (reason) => controller.error(reason)
    },
    pull: (controller: C): void | Promise<void> => {
      const now = stream.unsafeRead()
      if (now !== undefined) return take(controller, valueOf(now))
      return Promise.resolve(half.run(stream.read)).then((next) => take(controller, next))
    },
    cancel: (reason: unknown): void => half.halt(reason)
  }
}

export const writableOf = (stream: Callbacks, half: Half): WritableStream<Uint8Array> =>
  new WritableStream({
    start: (controller) => {
      half.onStop = (reason) => controller.error(reason)
      controller.signal.addEventListener("abort", () => half.halt(controller.signal.reason), { once: true })
    },
    write: (chunk) => {
      const bytes = [bytesOf(chunk)]
      return half.run((done) => stream.write(bytes, done))
    },
    close: () => half.run(stream.end)
  })

/** Streams of the platform carry anything; of what is no bytes nobody could say how much of the window it takes. */
export const bytesOf = (chunk: unknown): Uint8Array => {
  if (chunk instanceof Uint8Array) return chunk
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new TypeError("a chunk has to be bytes: a Uint8Array, another view, or an ArrayBuffer")
}
