import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type { Callbacks, Cancel, Done, MuxStream } from "../../MuxStream.js"
import { MuxStreamHandle } from "./handle.js"

type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>

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
  const { incoming, outgoing } = MuxStreamHandle.stateOf(handle)
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
