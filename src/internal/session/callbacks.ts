import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { MuxStream } from "../../MuxStream.js"
import { type EndError, type ReadError, StreamReset, type WriteError } from "../../WsmuxError.js"
import type { RecvHalf } from "../recv/recvHalf.js"
import type { SendHalf } from "../send/sendHalf.js"
import { type Cancel, type Done, inMicrotask, later } from "../sync/later.js"
import { interruptSoon } from "../sync/unowned.js"
import { ResetCode } from "../wire/resetCode.js"
import { MuxStreamHandle } from "./handle.js"
import type { Cause as ResetCause, StreamProtocol } from "./streamProtocol.js"

/** Runs an effect in a fiber. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>

/** The operations of a byte stream, with callbacks. */
export interface Callbacks<R = ReadError, W = WriteError, E = W> {
  /** Reads the next chunk without waiting. Returns undefined if the read would wait or needs a fiber. */
  readonly unsafeRead: () => Exit.Exit<Option.Option<Uint8Array>, R> | undefined

  /**
   * Reads the next chunk, or none at the end. Always returns before `done` is called. A cancelled read takes no bytes,
   * unless it needs a fiber and that fiber has completed.
   */
  readonly read: (done: Done<Option.Option<Uint8Array>, R>) => Cancel

  /**
   * Writes a chunk without waiting, and keeps no reference to it. Returns undefined, and writes nothing, if the write
   * would wait or needs a fiber.
   */
  readonly unsafeWrite: (chunk: Uint8Array) => Exit.Exit<void, W> | undefined

  /**
   * Writes the chunks in one piece. Calls `done` before returning if all bytes could be sent at once. A cancelled write
   * drops the bytes that have not been sent.
   */
  readonly write: (chunks: ReadonlyArray<Uint8Array>, done: Done<void, W>) => Cancel

  /** Sends the end. Cancelling does not stop the end. */
  readonly end: (done: Done<void, E>) => Cancel

  /** The abnormal ends of the stream. Undefined where the peer knows no reset. */
  readonly resets?: Resets | undefined
}

/** The abnormal ends of a stream whose peer speaks the dialect. */
export interface Resets {
  /** Ends both halves abnormally, as far as they have not ended. */
  readonly reset: (cause: ResetCause) => void
  readonly resetSending: (cause: ResetCause) => void
  readonly stopReading: (cause: ResetCause) => void
  /** Leaves the stream after success: ends what this end sends, and reads no more. */
  readonly leave: () => void
  /** The number of bytes that have arrived and are not read. */
  readonly unread: () => number
  /** Calls back when the peer resets what this end sends, even while nothing is written. */
  readonly onPeerReset: (done: (reset: StreamReset) => void) => Cancel
  /** Calls back when the peer has left after success, and reads no more. */
  readonly onPeerLeft: (done: () => void) => Cancel
}

/** The operations of a byte stream as effects. */
export interface Operations<R, W = R, E = W> {
  readonly read: Effect.Effect<Option.Option<Uint8Array>, R>
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, W>
  readonly writeAll?: (chunks: Iterable<Uint8Array>) => Effect.Effect<void, W>
  readonly end: Effect.Effect<void, E>
}

/**
 * Returns the operations of a stream with callbacks, for adapters such as Node's streams.
 *
 * A fiber for each chunk would be most of the work. In addition, Effect copies its set of running fibers every few
 * forks. The old sets keep the chunks reachable until the next full garbage collection.
 *
 * @param fork runs the operations that need a fiber, such as `Runtime.runFork(runtime)`
 */
export const toCallbacks = (stream: MuxStream, fork: Fork): Callbacks<ReadError, WriteError, EndError> => {
  // A stream that another package made, such as a wrapper that counts bytes, has only effects.
  return stream instanceof MuxStreamHandle
    ? new StreamCallbacks(MuxStreamHandle.stateOf(stream))
    : forkEach<ReadError, WriteError, EndError>(stream, fork)
}

/** Runs each operation in a fiber of its own. */
export const forkEach = <R, W, E = W>(operations: Operations<R, W, E>, fork: Fork): Callbacks<R, W, E> => {
  const run = <A, F>(
    name: keyof Operations<R, W, E>,
    begin: () => Effect.Effect<A, F>,
    done: Done<A, F>
  ): Cancel => {
    const fiber = fork(operations[name] === undefined ? lacking(operations, name) : Effect.suspend(begin))
    fiber.addObserver(done)
    return () => {
      fiber.removeObserver(done)
      interruptSoon(fiber)
    }
  }
  return {
    unsafeRead: () => undefined,
    read: (done) => later((wake) => run("read", () => operations.read, wake), done),
    unsafeWrite: () => undefined,
    write: (chunks, done) =>
      chunks.length === 1
        ? run("write", () => operations.write(chunks[0]!), done)
        : run("writeAll", () => operations.writeAll!(chunks), done),
    end: (done) => run("end", () => operations.end, done)
  }
}

/** The defect of an object that a cast made a stream. */
const lacking = (stream: object, name: string) =>
  Effect.dieMessage(
    `stream${"id" in stream ? ` ${stream.id}` : ""} has no operation ${name}: ` +
      "MuxStream.withOperations keeps what { ...stream } loses"
  )

/** Returns the abnormal ends of a stream; undefined where the peer knows no reset, and for a wrapper. */
export const resetsOf = (stream: object): Resets | undefined => {
  if (!(stream instanceof MuxStreamHandle)) return undefined
  const state = MuxStreamHandle.stateOf(stream)
  return state.canReset ? new StreamResets(state) : undefined
}

/** A class, since a stream of a tunnel has one and uses little of it. */
class StreamResets implements Resets {
  readonly #state: StreamProtocol

  constructor(state: StreamProtocol) {
    this.#state = state
  }

  reset(cause: ResetCause): void {
    this.#state.reset(cause)
  }

  resetSending(cause: ResetCause): void {
    this.#state.resetSending(cause)
  }

  stopReading(cause: ResetCause): void {
    this.#state.stopReading(cause)
  }

  leave(): void {
    this.#state.leave()
  }

  unread(): number {
    return this.#state.recvHalf.buffered
  }

  onPeerReset(done: (reset: StreamReset) => void): Cancel {
    return this.#onReset((reset) => {
      if (reset.code !== ResetCode.NoError) done(reset)
    })
  }

  onPeerLeft(done: () => void): Cancel {
    return this.#onReset(({ code }) => {
      if (code === ResetCode.NoError) done()
    })
  }

  #onReset(done: (reset: StreamReset) => void): Cancel {
    const state = this.#state
    return later((wake) => {
      if (state.sendHalf.hasEnded) wake()
      return state.onPeerReset(wake)
    }, () => {
      const reset = Option.flatMap(Exit.causeOption(state.sendHalf.outcome ?? Exit.void), peerResetOf)
      if (Option.isSome(reset)) done(reset.value)
    })
  }
}

/** Returns the reset by the peer that a failure tells of. */
export const peerResetOf = (cause: Cause.Cause<unknown>): Option.Option<StreamReset> =>
  Option.filter(
    Cause.failureOption(cause),
    (failure): failure is StreamReset => failure instanceof StreamReset && failure.by === "peer"
  )

/** Whether a write or an end failed only because the peer has left after success, and reads no more. */
export const isPeerLeft = (cause: Cause.Cause<unknown>): boolean =>
  Option.exists(peerResetOf(cause), ({ code, operation }) => operation === "write" && code === ResetCode.NoError)

/** The operations of a stream without fibers. */
class StreamCallbacks implements Callbacks<ReadError, WriteError, EndError> {
  readonly resets: Resets | undefined
  readonly #recvHalf: RecvHalf
  readonly #sendHalf: SendHalf

  constructor(state: StreamProtocol) {
    this.resets = state.canReset ? new StreamResets(state) : undefined
    this.#recvHalf = state.recvHalf
    this.#sendHalf = state.sendHalf
  }

  unsafeRead(): Exit.Exit<Option.Option<Uint8Array>, ReadError> | undefined {
    return this.#recvHalf.readNow()
  }

  read(done: Done<Option.Option<Uint8Array>, ReadError>): Cancel {
    const recvHalf = this.#recvHalf
    let isCancelled = false
    let cancel = nothing
    const look = () => {
      if (isCancelled) return
      const exit = recvHalf.readNow()
      if (exit === undefined) cancel = recvHalf.onReadable(wake)
      else done(exit)
    }
    const wake = () => inMicrotask(look)
    cancel = recvHalf.onReadable(wake)
    return () => {
      isCancelled = true
      cancel()
    }
  }

  unsafeWrite(chunk: Uint8Array): Exit.Exit<void, WriteError> | undefined {
    const begun = this.#sendHalf.begin([chunk])
    return Exit.isExit(begun) ? begun : undefined
  }

  write(chunks: ReadonlyArray<Uint8Array>, done: Done<void, WriteError>): Cancel {
    const begun = this.#sendHalf.begin(chunks)
    if (!Exit.isExit(begun)) return later((wake) => this.#sendHalf.enqueue(begun, wake), done)
    done(begun)
    return nothing
  }

  end(done: Done<void, EndError>): Cancel {
    const outcome = this.#sendHalf.beginEnd()
    if (outcome === undefined) {
      return later((wake) => this.#sendHalf.onEnded(wake), () => done(this.#sendHalf.outcome!))
    }
    done(outcome)
    return nothing
  }
}

const nothing = (): void => {}
