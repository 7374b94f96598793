import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Option from "effect/Option"
import type { MuxStream } from "../../MuxStream.js"
import type { BrokenPipe, ReadError, WriteError } from "../../WsmuxError.js"
import { MuxStreamHandle } from "./handle.js"

type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>

/** Cancels an operation that has not completed. The operation then never calls its callback. */
export type Cancel = () => void

/** The callback of an operation, which the operation calls once with its exit. */
export type Done<A, E> = (exit: Exit.Exit<A, E>) => void

/** The operations of a stream, with callbacks. */
export interface Callbacks {
  /**
   * Reads the next chunk without waiting. Returns undefined if `MuxStream.read` would wait, and always for a
   * `MuxStream` that this package did not make.
   */
  readonly unsafeRead: () => Exit.Exit<Option.Option<Uint8Array>, ReadError> | undefined

  /**
   * Reads as `MuxStream.read` does. Always returns before `done` is called. A cancelled read takes no bytes, unless
   * another package made the stream and its read has completed.
   */
  readonly read: (done: Done<Option.Option<Uint8Array>, ReadError>) => Cancel

  /**
   * Writes as `MuxStream.writeAll` does. Calls `done` before returning if all bytes could be sent at once. A cancelled
   * write drops the bytes that have not been sent.
   */
  readonly write: (chunks: ReadonlyArray<Uint8Array>, done: Done<void, WriteError>) => Cancel

  /** Ends the stream as `MuxStream.end` does. Cancelling does not stop the FIN. */
  readonly end: (done: Done<void, BrokenPipe>) => Cancel
}

/**
 * Returns the operations of a stream with callbacks, for adapters such as Node's streams.
 *
 * A fiber for each chunk would be most of the work. In addition, Effect copies its set of running fibers every few
 * forks. The old sets keep the chunks reachable until the next full garbage collection.
 *
 * @param fork runs the operations that need a fiber, such as `Runtime.runFork(runtime)`
 */
export const toCallbacks = (stream: MuxStream, fork: Fork): Callbacks => {
  const run = <A, E>(
    name: "read" | "write" | "writeAll" | "end",
    begin: () => Effect.Effect<A, E>,
    done: Done<A, E>
  ): Cancel => {
    const fiber = fork(stream[name] === undefined ? lacking(stream, name) : Effect.suspend(begin))
    fiber.addObserver(done)
    return () => {
      fiber.removeObserver(done)
      fiber.unsafeInterruptAsFork(FiberId.none)
    }
  }
  const end: Callbacks["end"] = (done) => run("end", () => stream.end, done)
  // A stream that another package made, such as a wrapper that counts bytes, has only effects.
  return stream instanceof MuxStreamHandle ? { ...direct(stream), end } : {
    unsafeRead: () => undefined,
    read: (done) => later((wake) => run("read", () => stream.read, wake), done),
    write: (chunks, done) =>
      chunks.length === 1
        ? run("write", () => stream.write(chunks[0]!), done)
        : run("writeAll", () => stream.writeAll(chunks), done),
    end
  }
}

/** The defect of an object that a cast made a `MuxStream`. */
const lacking = (stream: MuxStream, name: string) =>
  Effect.dieMessage(
    `stream ${stream.id} has no operation ${name}: MuxStream.withOperations keeps what { ...stream } loses`
  )

const direct = (handle: MuxStreamHandle): Omit<Callbacks, "end"> => {
  const { recvHalf, sendHalf } = MuxStreamHandle.stateOf(handle)
  return {
    unsafeRead: () => recvHalf.readNow(),
    read: (done) => {
      let cancel = nothing
      const look = () => {
        const exit = recvHalf.readNow()
        if (exit === undefined) wait()
        else done(exit)
      }
      const wait = () => {
        cancel = later((wake) => recvHalf.onReadable(wake), look)
      }
      wait()
      return () => cancel()
    },
    write: (chunks, done) => {
      const begun = sendHalf.begin(chunks)
      if (!Exit.isExit(begun)) return later((wake) => sendHalf.enqueue(begun, wake), done)
      done(begun)
      return nothing
    }
  }
}

/**
 * Calls `done` in a microtask. The session wakes waiters in the middle of its work, and `done` may call the session.
 */
const later = <A extends ReadonlyArray<unknown>>(
  begin: (wake: (...args: A) => void) => Cancel,
  done: (...args: A) => void
): Cancel => {
  let cancelled = false
  const cancel = begin((...args) => queueMicrotask(() => cancelled || done(...args)))
  return () => {
    cancelled = true
    cancel()
  }
}

const nothing = (): void => {}
