import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import type { MuxStream } from "../../MuxStream.js"
import type { BrokenPipe, ReadError, WriteError } from "../../WsmuxError.js"
import { MuxStreamHandle } from "../muxStream.js"
import { forkInterruptibly } from "./forkInterruptibly.js"

/** Gives up what was begun: nothing is called back any more. */
export type Cancel = () => void

type Done<A, E> = (exit: Exit.Exit<A, E>) => void

/**
 * The operations of a stream for callbacks. A fiber for each chunk is more than work: the set in which Effect keeps those
 * that run is made anew every few forks, and the old ones keep what was read reachable until the next full collection.
 */
export interface Callbacks {
  /** The next chunk, or none at the end, or why there is neither; undefined if it has yet to come. */
  readonly readNow: () => Exit.Exit<Option.Option<Uint8Array>, ReadError> | undefined
  /** The same once it comes, never at once. */
  readonly read: (done: Done<Option.Option<Uint8Array>, ReadError>) => Cancel
  /** Calls back at once where it can. */
  readonly write: (chunks: ReadonlyArray<Uint8Array>, done: Done<void, WriteError>) => Cancel
  readonly end: (done: Done<void, BrokenPipe>) => Cancel
}

export const callbacksOf = (stream: MuxStream, runtime: Runtime.Runtime<never>): Callbacks => {
  const fork = forkInterruptibly(runtime)
  const run = <A, E>(effect: Effect.Effect<A, E>, done: Done<A, E>): Cancel => {
    const fiber = fork(effect)
    fiber.addObserver(done)
    return () => {
      fiber.removeObserver(done)
      fiber.unsafeInterruptAsFork(FiberId.none)
    }
  }
  const end: Callbacks["end"] = (done) => run(stream.end, done)
  // One of somebody else's making, such as one that counts what passes, has only effects.
  return stream instanceof MuxStreamHandle ? { ...direct(stream), end } : {
    readNow: () => undefined,
    read: (done) => later((wake) => run(stream.read, wake), done),
    write: (chunks, done) => run(chunks.length === 1 ? stream.write(chunks[0]!) : stream.writeAll(chunks), done),
    end
  }
}

const direct = (handle: MuxStreamHandle): Omit<Callbacks, "end"> => {
  const { incoming, outgoing } = MuxStreamHandle.stateOf(handle)
  return {
    readNow: () => incoming.readNow(),
    read: (done) => {
      let cancel: Cancel
      const look = () => {
        const exit = incoming.readNow()
        if (exit === undefined) wait()
        else done(exit)
      }
      const wait = () => {
        cancel = later((wake) => incoming.onChange(wake), look)
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

/** Calls back in a turn of its own: the session wakes others in the middle of its work, and `done` may ask it for more. */
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
