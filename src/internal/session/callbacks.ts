import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Option from "effect/Option"
import type { MuxStream } from "../../MuxStream.js"
import type { BrokenPipe, ReadError, WriteError } from "../../WsmuxError.js"
import { MuxStreamHandle } from "./handle.js"

type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>

/** Gives up an operation that has not completed: its callback is not called. */
export type Cancel = () => void

/** Called once with the outcome of an operation. */
export type Done<A, E> = (exit: Exit.Exit<A, E>) => void

/** The operations of a stream for callbacks. */
export interface Callbacks {
  /**
   * Reads the next chunk without waiting. Returns undefined if `MuxStream.read` would wait, and always for a
   * `MuxStream` that this package did not make.
   */
  readonly unsafeRead: () => Exit.Exit<Option.Option<Uint8Array>, ReadError> | undefined

  /**
   * Reads as `MuxStream.read`. Never calls back before it returns. A cancelled read takes nothing, unless another
   * package made the stream and its read has completed.
   */
  readonly read: (done: Done<Option.Option<Uint8Array>, ReadError>) => Cancel

  /**
   * Writes as `MuxStream.writeAll`. Calls back before it returns if all bytes could be sent at once. A cancelled write
   * leaves out the bytes that have not been sent.
   */
  readonly write: (chunks: ReadonlyArray<Uint8Array>, done: Done<void, WriteError>) => Cancel

  /** Ends as `MuxStream.end`. Cancelling does not take the FIN back. */
  readonly end: (done: Done<void, BrokenPipe>) => Cancel
}

/**
 * A stream for callers made of callbacks, such as Node's streams.
 *
 * A fiber for each chunk would be most of the work. In addition, Effect remakes its set of running fibers every few
 * forks, and the old sets keep the chunks reachable until the next full collection.
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
  // One of somebody else's making, such as one that counts what passes, has only effects.
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

/** An object that was made a stream by a cast. */
const lacking = (stream: MuxStream, name: string) =>
  Effect.dieMessage(
    `stream ${stream.id} has no operation ${name}: MuxStream.withOperations keeps what { ...stream } loses`
  )

const direct = (handle: MuxStreamHandle): Omit<Callbacks, "end"> => {
  const { recvHalf: incoming, sendHalf: outgoing } = MuxStreamHandle.stateOf(handle)
  return {
    unsafeRead: () => incoming.readNow(),
    read: (done) => {
      let cancel = nothing
      const look = () => {
        const exit = incoming.readNow()
        if (exit === undefined) wait()
        else done(exit)
      }
      const wait = () => {
        cancel = later((wake) => incoming.onReadable(wake), look)
      }
      wait()
      return () => cancel()
    },
    write: (chunks, done) => {
      const begun = outgoing.begin(chunks)
      if (!Exit.isExit(begun)) return later((wake) => outgoing.enqueue(begun, wake), done)
      done(begun)
      return nothing
    }
  }
}

/**
 * Calls back in a turn of its own: the session wakes others in the middle of its work, and `done` may ask it for more.
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
