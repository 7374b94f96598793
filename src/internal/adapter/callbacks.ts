import { isMuxStream } from "../../MuxStream.js"
import { type Callbacks, type Fork, forkEach, type Operations, toCallbacks } from "../session/callbacks.js"

/** Callbacks of a byte stream, which may offer bytes on arrival. */
export interface ByteCallbacks<R, W> extends Callbacks<R, W> {
  /**
   * Sets a consumer that is offered bytes as they arrive. The consumer returns true when it has used the bytes, and
   * keeps no reference to them. Bytes that it does not use are read as all others.
   */
  readonly onArrival?: (consume: (bytes: Uint8Array) => boolean) => void
}

/** The callbacks of streams that have more than effects. */
const known = new WeakMap<object, (fork: Fork) => unknown>()

/** Gives a byte stream callbacks that need no fiber. */
export const setCallbacks = <R, W, A extends Operations<R, W>>(
  stream: A & Operations<R, W>,
  make: (fork: Fork) => ByteCallbacks<R, W>
): A => {
  known.set(stream, make)
  return stream
}

/** Returns the operations of a byte stream with callbacks. */
export const callbacksOf = <R, W>(stream: Operations<R, W>, fork: Fork): ByteCallbacks<R, W> => {
  const make = known.get(stream) as ((fork: Fork) => ByteCallbacks<R, W>) | undefined
  if (make !== undefined) return make(fork)
  // The failures of a `MuxStream` are those of its operations.
  return isMuxStream(stream) ? toCallbacks(stream, fork) as unknown as Callbacks<R, W> : forkEach(stream, fork)
}
