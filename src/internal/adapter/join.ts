import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { ResetCode } from "../../MuxStream.js"
import type { Stalled } from "../../WsmuxError.js"
import { type Fork, isPeerLeft, type Operations, peerResetOf } from "../session/callbacks.js"
import { forkInterruptibly } from "../sync/forkInterruptibly.js"
import type { Cancel, Done } from "../sync/later.js"
import { interruptSoon } from "../sync/unowned.js"
import { type ByteCallbacks, callbacksOf } from "./callbacks.js"
import { StallTimeout } from "./stallTimeout.js"

/** Joins a stream of a session with another stream: see `ByteStream.join`. */
export const join = <E, R, W>(
  stream: Operations<R, W>,
  other: Operations<E>,
  stallTimeout: Duration.DurationInput | undefined
): Effect.Effect<void, E | R | W | Stalled> =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) =>
    Effect.async<void, E | R | W | Stalled>((resume) => {
      const fork = forkInterruptibly(runtime)
      const joined = new Join<E, R, W>(stream, callbacksOf(other, fork), fork, stallTimeout, resume)
      joined.start()
      return Effect.sync(() => joined.cancel())
    }))

/**
 * The time that one direction still gets after the other has failed for good: bytes that had arrived before a reset
 * reach the other stream, and the other stream can end before it is reset.
 */
const handOver = Duration.seconds(2)

/** Two pumps, one for each direction. Neither needs a fiber where both streams have callbacks. */
export class Join<E, R, W> {
  readonly #fork: Fork
  readonly #done: Done<void, E | R | W | Stalled>
  readonly #stall: StallTimeout
  readonly #stream: ByteCallbacks<R, W>
  readonly #other: ByteCallbacks<E, E>
  readonly #inbound: Pump<R, E>
  #outbound: Pump<E, W>
  /** The failure of writing to the stream of a peer that has left after success. */
  #left: Cause.Cause<W> | undefined
  #unwatchReset: Cancel = nothing
  /** The failure of writing to the other stream. */
  #lost: Cause.Cause<E> | undefined
  #outboundEnded = false
  #inboundEnded = false
  #isOver = false
  /** The fiber that watches a write that waits, and the one that waits for the rest of the other stream. */
  #watching: Fiber.RuntimeFiber<void, Stalled> | undefined
  #idling: Fiber.RuntimeFiber<void> | undefined

  constructor(
    joined: Operations<R, W>,
    other: ByteCallbacks<E, E>,
    fork: Fork,
    stallTimeout: Duration.DurationInput | undefined,
    done: Done<void, E | R | W | Stalled>
  ) {
    const stream = callbacksOf(joined, fork)
    this.#stream = stream
    this.#other = other
    this.#stall = new StallTimeout(stallTimeout, joined)
    this.#fork = fork
    this.#done = done
    this.#outbound = new Pump(other, stream, {
      onWrite: () => this.#watch(),
      onWritten: () => this.#stall.endWrite(),
      onEnd: () => this.#endStream(stream),
      onReadFailure: (cause) => this.#fail(cause),
      onWriteFailure: (cause) => isPeerLeft(cause) ? this.#discardRest(cause) : this.#fail(cause)
    })
    this.#inbound = new Pump(stream, other, {
      onWrite: () => {},
      onWritten: () => {},
      onEnd: () => this.#endOther(other),
      onReadFailure: (cause) => this.#fail(cause),
      onWriteFailure: (cause) => this.#failAfterRest(cause)
    })
  }

  start(): void {
    this.#unwatchReset = this.#stream.resets?.onPeerReset((reset) => this.#failSoon(Cause.fail(reset as R))) ?? nothing
    this.#outbound.run()
    if (!this.#isOver) this.#inbound.run()
  }

  cancel(): void {
    this.#isOver = true
    this.#unwatchReset()
    this.#outbound.cancel()
    this.#inbound.cancel()
    if (this.#watching !== undefined) interruptSoon(this.#watching)
    if (this.#idling !== undefined) interruptSoon(this.#idling)
  }

  /** Passes on the end of the other stream. After a failed write that end may be a loss. */
  #endStream(stream: ByteCallbacks<R, W>): Cancel {
    if (this.#lost !== undefined) {
      this.#fail(this.#lost)
      return nothing
    }
    return stream.end((exit) => {
      if (Exit.isFailure(exit) && !isPeerLeft(exit.cause)) return this.#fail(exit.cause)
      this.#outboundEnded = true
      if (this.#lost !== undefined) this.#fail(this.#lost)
      else this.#completeIfEnded()
    })
  }

  #endOther(other: ByteCallbacks<E, E>): Cancel {
    this.#stall.peerEnded = true
    return other.end((exit) => {
      if (Exit.isFailure(exit)) return this.#failAfterRest(exit.cause)
      this.#inboundEnded = true
      if (this.#left !== undefined) this.#failSoon(this.#left)
      this.#completeIfEnded()
    })
  }

  #completeIfEnded(): void {
    if (!this.#outboundEnded || !this.#inboundEnded) return
    if (this.#left === undefined) this.#conclude(Exit.void)
    else this.#fail(this.#left)
  }

  /**
   * Drops what the other stream still sends, because the peer reads no more. The peer's last bytes still go to the
   * other stream, which may read them only when it has sent all.
   */
  #discardRest(cause: Cause.Cause<W>): void {
    this.#left = cause
    this.#stall.endWrite()
    if (this.#inboundEnded) this.#failSoon(cause)
    const end = () => {
      this.#outboundEnded = true
      this.#completeIfEnded()
      return nothing
    }
    this.#outbound = new Pump<E, W>(this.#other, nowhere, {
      onWrite: nothing,
      onWritten: nothing,
      onEnd: end,
      onReadFailure: (failure) => this.#fail(failure),
      onWriteFailure: nothing
    })
    this.#outbound.run()
  }

  /** Fails after the time in which the other direction may come to its end. */
  #failSoon(cause: Cause.Cause<R | W>): void {
    if (this.#isOver || this.#idling !== undefined) return
    this.#idling = this.#fork(Effect.sleep(handOver))
    this.#idling.addObserver(() => this.#fail(cause))
  }

  /** Fails once the other stream has ended, or has sent no bytes for the time-out. */
  #failAfterRest(cause: Cause.Cause<E>): void {
    this.#lost = cause
    if (this.#outboundEnded) return this.#fail(cause)
    this.#idling = this.#fork(this.#stall.idle)
    this.#idling.addObserver(() => this.#fail(cause))
  }

  /** Watches a write that may have to wait, unless a fiber watches already. */
  #watch(): void {
    this.#stall.beginWrite()
    if (this.#watching !== undefined) return
    this.#watching = this.#fork(this.#stall.expired)
    this.#watching.addObserver((exit) => {
      this.#watching = undefined
      if (Exit.isFailure(exit)) this.#fail(exit.cause)
    })
  }

  /** Passes on the reset of one stream to the other, with its code. The text of another failure stays here. */
  #fail(cause: Cause.Cause<E | R | W | Stalled>): void {
    if (this.#isOver) return
    const { code, reason } = Option.getOrElse(peerResetOf(cause), () => ({ code: ResetCode.Failed, reason: "" }))
    const reset = code === ResetCode.NoError ? { code: ResetCode.Cancelled, reason: "" } : { code, reason }
    for (const joined of [this.#stream, this.#other]) joined.resets?.reset(reset)
    this.#conclude(Exit.failCause(cause))
  }

  #conclude(exit: Exit.Exit<void, E | R | W | Stalled>): void {
    if (this.#isOver) return
    this.cancel()
    this.#done(exit)
  }
}

/** The events of one direction. */
interface PumpOwner<R, W> {
  /** A write has to wait. */
  readonly onWrite: () => void
  readonly onWritten: () => void
  /** The source has ended. */
  readonly onEnd: () => Cancel
  readonly onReadFailure: (cause: Cause.Cause<R>) => void
  readonly onWriteFailure: (cause: Cause.Cause<W>) => void
}

/** Reads from one stream and writes to another, one chunk at a time. */
class Pump<R, W> {
  readonly #from: ByteCallbacks<R, unknown>
  readonly #to: ByteCallbacks<unknown, W>
  readonly #owner: PumpOwner<R, W>
  #cancel: Cancel = nothing
  /** Whether the pump waits for bytes, so that bytes that arrive are the next. */
  #isReading = false
  #isOver = false

  constructor(from: ByteCallbacks<R, unknown>, to: ByteCallbacks<unknown, W>, owner: PumpOwner<R, W>) {
    this.#from = from
    this.#to = to
    this.#owner = owner
    from.onArrival?.((bytes) => this.#isReading && this.#passArrival(bytes))
  }

  /** Passes on all that can be read at once, then waits. */
  run(): void {
    while (!this.#isOver) {
      const next = this.#from.unsafeRead()
      if (next === undefined) {
        this.#isReading = true
        this.#cancel = this.#from.read(this.#onNext)
        return
      }
      if (!this.#pass(next)) return
    }
  }

  cancel(): void {
    this.#isOver = true
    this.#isReading = false
    this.#cancel()
  }

  readonly #onNext = (next: Exit.Exit<Option.Option<Uint8Array>, R>): void => {
    this.#isReading = false
    this.#cancel = nothing
    if (this.#pass(next)) this.run()
  }

  /** Returns whether the next chunk may follow at once. */
  #pass(next: Exit.Exit<Option.Option<Uint8Array>, R>): boolean {
    if (Exit.isFailure(next)) {
      this.#owner.onReadFailure(next.cause)
      return false
    }
    if (Option.isNone(next.value)) {
      this.#cancel = this.#owner.onEnd()
      return false
    }
    let result: "waits" | "written" | "failed" = "waits"
    let hasReturned = false
    const cancel = this.#to.write([next.value.value], (exit) => {
      result = this.#onWritten(exit)
      this.#cancel = nothing
      if (hasReturned && result === "written") this.run()
    })
    hasReturned = true
    if (result !== "waits") return result === "written"
    this.#cancel = cancel
    this.#owner.onWrite()
    return false
  }

  /** Writes bytes that have just arrived, if they can be sent at once. */
  #passArrival(bytes: Uint8Array): boolean {
    const exit = this.#to.unsafeWrite(bytes)
    if (exit === undefined) return false
    this.#onWritten(exit)
    return true
  }

  #onWritten(exit: Exit.Exit<void, W>): "written" | "failed" {
    if (Exit.isSuccess(exit)) {
      this.#owner.onWritten()
      return "written"
    }
    this.#owner.onWriteFailure(exit.cause)
    return "failed"
  }
}

const nothing = (): void => {}

/** Takes all bytes, and keeps none. */
const nowhere: ByteCallbacks<never, never> = {
  unsafeRead: () => undefined,
  read: () => nothing,
  unsafeWrite: () => Exit.void,
  write: (_chunks, done) => {
    done(Exit.void)
    return nothing
  },
  end: () => nothing
}
