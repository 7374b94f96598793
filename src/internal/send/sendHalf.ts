import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import {
  BrokenPipe,
  type EndError,
  StreamReset,
  type TerminalError,
  type WriteError,
  WriteTimeout
} from "../../WsmuxError.js"
import { Fifo } from "../sync/fifo.js"
import { Notify } from "../sync/notify.js"
import * as Frame from "../wire/frame.js"
import type { FrameParts } from "../wire/frameParts.js"
import type { ResetInfo } from "../wire/resetCode.js"
import { SendWindow } from "../wire/sendWindow.js"
import type { FrameSource, SendScheduler } from "./sendScheduler.js"

/** The part of the session that a send half uses. */
export interface SendContext {
  readonly scheduler: Pick<SendScheduler, "schedule" | "trySend" | "sendControl">
  /** Called when a write begins to wait for credit. */
  readonly stalled: () => void
}

/** The stream that a send half belongs to. */
export interface SendHalfOwner {
  /** Called when the FIN of this end has been sent. */
  readonly finSent: () => void
  /** Called when a write before the FIN is left out. The FIN follows, unless the owner resets the half. */
  readonly leftOut: () => void
}

/** A write that waits for credit or for its turn. The caller must not change its bytes until the write is done. */
export class Write {
  #index = 0
  #offset = 0
  /** Bytes that were sent. */
  written = 0
  /** Whether the send half ends when all bytes are sent. */
  isLast = false
  done: ((exit: Exit.Exit<void, WriteError>) => void) | undefined

  constructor(readonly chunks: ReadonlyArray<Uint8Array>, readonly size: number) {}

  get remaining(): number {
    return this.size - this.written
  }

  /** Moves up to `limit` of the remaining bytes to `parts`. Returns how many. */
  moveTo(parts: Array<Uint8Array>, limit: number): number {
    let moved = 0
    while (moved < limit && this.#index < this.chunks.length) {
      const chunk = this.chunks[this.#index]!
      const part = Math.min(chunk.byteLength - this.#offset, limit - moved)
      parts.push(part === chunk.byteLength ? chunk : chunk.subarray(this.#offset, this.#offset + part))
      moved += part
      this.#offset += part
      if (this.#offset === chunk.byteLength) {
        this.#index++
        this.#offset = 0
      }
    }
    this.written += moved
    return moved
  }
}

/**
 * - `Open`: bytes may be written
 * - `Ending`: no new writes; the FIN follows the writes that wait
 * - `Ended`: the FIN has been sent
 * - `Reset`: one end has reset this half, and no FIN follows
 * - `Broken`: the session is over
 */
type State =
  | { readonly _tag: "Open" }
  | { readonly _tag: "Ending" }
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Reset"; readonly reset: ResetInfo }
  | { readonly _tag: "Broken"; readonly cause: TerminalError }

const open: State = { _tag: "Open" }
const ending: State = { _tag: "Ending" }
const ended: State = { _tag: "Ended" }

/**
 * The send half of a stream. Writes are sent in the order in which they were made, as far as credit and turns allow.
 * The send half debits credit and sends the frame in one synchronous step, so an interruption never splits a frame or
 * loses credit.
 */
export class SendHalf implements FrameSource {
  queued = false
  isLarge = false
  largeSent = 0
  readonly id: number
  readonly #context: SendContext
  readonly #owner: SendHalfOwner
  readonly #window: SendWindow
  /**
   * The writes that wait, and the fibers that wait for the end. Undefined until there are any, to keep idle streams
   * small.
   */
  #writes: Fifo<Write> | undefined
  #enders: Notify | undefined
  #waiting = 0
  #state: State = open
  #expired = false

  constructor(id: number, credit: number, context: SendContext, owner: SendHalfOwner) {
    this.id = id
    this.#context = context
    this.#owner = owner
    this.#window = new SendWindow(credit)
  }

  get credit(): number {
    return this.#window.credit
  }

  /** Whether all frames of this half have been sent. */
  get hasEnded(): boolean {
    return this.#state !== open && this.#state !== ending
  }

  /** Bytes of writes that wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** Adds credit from the peer. Returns false when the sum is more than a peer can grant. */
  grant(bytes: number): boolean {
    const isWithin = this.#window.grant(bytes)
    if (this.hasFrame()) this.#context.scheduler.schedule(this)
    return isWithin
  }

  hasFrame(): boolean {
    return this.#waiting > 0 ? this.#window.credit > 0 : this.#state === ending
  }

  nextFrame(maxPayload: number): FrameParts | undefined {
    if (this.#waiting > 0) return this.#nextDat(maxPayload)
    if (this.#state !== ending) return undefined
    this.#state = ended
    this.#enders?.notifyAll()
    this.#owner.finSent()
    return [Frame.fin(this.id)]
  }

  write(chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, WriteError> {
    return Effect.suspend(() => this.writeNow(chunks) ?? Effect.void)
  }

  /** Writes without an effect. Returns an effect when the write has to wait or fails. */
  writeNow(chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, WriteError> | undefined {
    const begun = this.begin(chunks)
    if (begun instanceof Write) return this.#wait(begun)
    return begun === Exit.void ? undefined : begun
  }

  /** Writes the chunks and ends behind them. Interruption leaves out the bytes that have not been sent, and the FIN. */
  writeEnd(chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, WriteError> {
    return Effect.suspend(() => {
      const begun = this.begin(chunks, true)
      if (begun === Exit.void) {
        this.#startEnding()
        return this.outcome ?? this.end
      }
      if (!(begun instanceof Write)) return begun
      begun.isLast = true
      return Effect.zipRight(this.#wait(begun), this.end)
    })
  }

  /**
   * Writes without waiting. Returns the write to enqueue when it has to wait.
   *
   * @param isLast whether the end follows in the same step
   */
  begin(chunks: ReadonlyArray<Uint8Array>, isLast = false): Exit.Exit<void, WriteError> | Write {
    const refusal = this.#refusal(0)
    if (refusal !== undefined) return Exit.fail(refusal)
    const size = chunks.length === 1 ? sizeOf(chunks[0]!) : chunks.reduce((sum, chunk) => sum + sizeOf(chunk), 0)
    if (size === 0) return Exit.void // a DAT without bytes corrupts a Go receiver
    return this.#trySend(chunks, size, isLast) ? Exit.void : new Write(chunks, size)
  }

  /**
   * Queues the write. `done` runs synchronously, possibly before this returns. Returns a function that cancels the
   * write.
   */
  enqueue(write: Write, done: (exit: Exit.Exit<void, WriteError>) => void): () => void {
    if (this.#waiting === 0 && this.#window.credit === 0) this.#context.stalled()
    write.done = done
    this.#writes ??= new Fifo()
    this.#writes.push(write)
    this.#waiting += write.size
    if (this.hasFrame()) this.#context.scheduler.schedule(this)
    return () => this.#cancel(write)
  }

  /** Sends FIN behind the writes that wait, and waits until the FIN is sent. */
  get end(): Effect.Effect<void, EndError> {
    return Effect.suspend(() => this.beginEnd() ?? this.#endWaiters.waitUntil(() => this.outcome))
  }

  /** Sends FIN behind the writes that wait. Returns the outcome; undefined while the FIN waits. */
  beginEnd(): Exit.Exit<void, EndError> | undefined {
    this.#startEnding()
    return this.outcome
  }

  /** How the end went, once the FIN has been sent or the session is over. */
  get outcome(): Exit.Exit<void, EndError> | undefined {
    if (this.#state === ended) return Exit.void
    return this.hasEnded ? Exit.fail(this.#broken(0)) : undefined
  }

  /** Calls back once, when there may be an outcome. Returns a function that cancels the callback. */
  onEnded(wake: () => void): () => void {
    return this.#endWaiters.add(wake)
  }

  get #endWaiters(): Notify {
    return this.#enders ??= new Notify()
  }

  /** Sends FIN without waiting. Writes that wait fail. */
  abandon(): void {
    this.#startEnding()
    this.#rejectAll((written) => this.#broken(written))
    if (this.hasFrame()) this.#context.scheduler.schedule(this)
  }

  /** Ends abnormally: the writes that wait fail, and no FIN follows. Returns false when the half had ended. */
  reset(reset: ResetInfo): boolean {
    if (this.hasEnded) return false
    this.#state = { _tag: "Reset", reset }
    this.#rejectAll((written) => this.#broken(written))
    this.#enders?.notifyAll()
    return true
  }

  /** The session is over. A FIN with no data before it is still sent, if the closing session flushes it in time. */
  fail(cause: TerminalError): void {
    const isEnding = this.#state === ending && this.#waiting === 0
    if (!this.hasEnded) this.#state = { _tag: "Broken", cause } // before its turn can come again
    if (isEnding) this.#context.scheduler.sendControl(Frame.fin(this.id))
    this.#rejectAll((written) => this.#broken(written))
    this.#enders?.notifyAll()
  }

  /** Whether the write deadline has passed. */
  setExpired(expired: boolean): void {
    this.#expired = expired
    if (!expired || this.#waiting === 0) return
    this.#rejectAll((written) => this.#writeTimeout(written))
    this.#leaveOut()
  }

  /** Sends bytes, if it may be sent now, ahead of no other. */
  #trySend(chunks: ReadonlyArray<Uint8Array>, size: number, isLast: boolean): boolean {
    if (this.#waiting > 0 || size > this.#window.credit) return false
    this.#window.take(size) // before the frame, which may bring about anything
    if (this.#context.scheduler.trySend(this, chunks, size, isLast)) return true
    this.#window.grant(size)
    return false
  }

  /** Queues the write and sends what may be sent in one step of the fiber, so that no other fiber comes between. */
  #wait(write: Write): Effect.Effect<void, WriteError> {
    return Effect.uninterruptibleMask((restore) => {
      const refusal = this.#refusal(0)
      if (refusal !== undefined) return Effect.fail(refusal)
      let exit: Exit.Exit<void, WriteError> | undefined
      let resume: ((exit: Exit.Exit<void, WriteError>) => void) | undefined
      const cancel = this.enqueue(write, (done) => {
        exit = done
        resume?.(done)
      })
      // A fiber may be interrupted before any step. Only the wait is interruptible.
      const wait = Effect.async<void, WriteError>((done) => {
        resume = done
        if (exit !== undefined) done(exit)
      })
      return exit ?? Effect.onInterrupt(restore(wait), () => Effect.sync(cancel))
    })
  }

  #cancel(write: Write): void {
    if (this.#writes?.remove(write) !== true) return
    this.#waiting -= write.remaining
    this.#leaveOut()
  }

  /** Goes on behind writes that were left out. */
  #leaveOut(): void {
    if (this.#state === ending) this.#owner.leftOut()
    if (this.hasFrame()) this.#context.scheduler.schedule(this)
  }

  /** Takes a frame from the writes that wait, as large as `maxPayload` and the credit allow. */
  #nextDat(maxPayload: number): FrameParts | undefined {
    const size = this.#window.take(Math.min(maxPayload, this.#waiting))
    if (size === 0) return undefined
    const payload: Array<Uint8Array> = []
    this.#waiting -= size
    if (this.#waiting > 0 && this.#window.credit === 0) this.#context.stalled()
    const writes = this.#writes!
    let missing = size
    while (missing > 0) {
      const write = writes.first!
      missing -= write.moveTo(payload, missing)
      if (write.remaining === 0) {
        writes.shift()
        if (write.isLast && this.#state === open) this.#state = ending // the scheduler asks for the FIN next
        write.done!(Exit.void)
      }
    }
    return [Frame.datHeader(this.id), ...payload]
  }

  #startEnding(): void {
    if (this.#state !== open) return
    this.#state = ending
    if (this.hasFrame()) this.#context.scheduler.schedule(this)
  }

  #rejectAll(error: (written: number) => WriteError): void {
    this.#waiting = 0
    for (const write of this.#writes?.clear() ?? []) write.done!(Exit.fail(error(write.written)))
  }

  #refusal(written: number): WriteError | undefined {
    if (this.#state !== open) return this.#broken(written)
    return this.#expired ? this.#writeTimeout(written) : undefined
  }

  #broken(written: number): EndError {
    const about = { streamId: this.id, operation: "write" } as const
    switch (this.#state._tag) {
      case "Reset":
        return new StreamReset({ ...about, ...this.#state.reset, written })
      case "Broken":
        return new BrokenPipe({ ...about, reason: "SessionEnded", written, cause: this.#state.cause })
      default:
        return new BrokenPipe({ ...about, reason: "StreamEnded", written })
    }
  }

  #writeTimeout(written: number): WriteTimeout {
    return new WriteTimeout({ streamId: this.id, written })
  }
}

/**
 * Returns the size of a chunk in bytes. Throws for another type, such as an `ArrayBuffer`: a transport would copy it
 * wrongly, and send bytes that other messages left in its buffer.
 */
const sizeOf = (chunk: Uint8Array): number => {
  if (chunk.BYTES_PER_ELEMENT !== 1) throw new TypeError("MuxStream.write: a chunk must be a Uint8Array")
  return chunk.byteLength
}
