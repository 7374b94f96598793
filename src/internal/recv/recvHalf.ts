import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import {
  BrokenPipe,
  NoCapacity,
  type ReadError,
  ReadTimeout,
  StreamReset,
  type TerminalError
} from "../../WsmuxError.js"
import type { ReceiveMemory } from "../budget/receiveMemory.js"
import { Notify } from "../sync/notify.js"
import type { ResetInfo } from "../wire/resetCode.js"
import { BoundedByteQueue } from "./boundedByteQueue.js"
import type { WindowTuner } from "./windowTuner.js"

/** The part of a session that a receive half uses. */
export interface RecvContext {
  /** Returns credit to the peer. */
  readonly scheduler: { readonly sendCredit: (streamId: number, bytes: number) => void }
  /** Lets windows grow; undefined when auto-tuning is off. */
  readonly tuner: WindowTuner | undefined
  /** Accounts for the bytes that the windows can make this process store. */
  readonly memory: Pick<ReceiveMemory, "bookSurplus" | "bookGrowth" | "giveBack">
}

/**
 * What follows the unread bytes:
 *
 * - `Receiving`: more bytes may follow
 * - `Ended`: the peer's FIN, which is final
 * - `Failed`: an error, because bytes are lost or the session has ended
 * - `Draining`: the owner has left; arriving bytes are discarded and their credit is returned
 * - `Stopped`: the peer was told that this end reads no more; arriving bytes are discarded without credit
 */
type State =
  | { readonly _tag: "Receiving" }
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Failed"; readonly error: ReadError }
  | { readonly _tag: "Draining"; budget: number }
  | { readonly _tag: "Stopped"; readonly reset: ResetInfo | undefined }

const receiving: State = { _tag: "Receiving" }
const ended: State = { _tag: "Ended" }

/** The end of the bytes, which is no error. */
export type End = "End"

/** The receive half of a stream: a queue bounded by the window, the state behind its last byte, and those who wait. */
export class RecvHalf {
  readonly #streamId: number
  readonly #context: RecvContext
  /** Opened when the stream is accepted: until then its capacity is 0, and the peer may send nothing. */
  readonly #queue = new BoundedByteQueue()
  /** Made for the first reader, so that an idle stream stays small. */
  #readers: Notify | undefined
  #state: State = receiving
  #expired = false
  /** When credit was last returned, by the tuner's clock. */
  #creditReturnedAt = 0
  /** The bytes that are booked for the window as it was opened, and for its growth. */
  #booked: number
  #growth = 0

  /** @param booked the size of the window, which the owner has booked */
  constructor(streamId: number, booked: number, context: RecvContext) {
    this.#streamId = streamId
    this.#booked = booked
    this.#context = context
  }

  /** The unread bytes. */
  get buffered(): number {
    return this.#queue.size
  }

  /** The credit that the peer still holds. */
  get granted(): number {
    return this.#queue.granted
  }

  /** The receive window. */
  get capacity(): number {
    return this.#queue.capacity
  }

  /** The number of unread chunks. */
  get chunkCount(): number {
    return this.#queue.count
  }

  /** Whether the owning scope has closed, so that arriving bytes are discarded. */
  get isDiscarding(): boolean {
    return this.#state._tag === "Draining" || this.#state._tag === "Stopped"
  }

  /**
   * Opens a window of `size` bytes towards a peer that believes to have `granted` bytes of credit. Returns the credit
   * that the stream honours, which is less than `granted` where memory is short.
   */
  open(size: number, granted: number): number {
    const surplus = granted > size ? this.#context.memory.bookSurplus(granted - size) : 0
    const credit = Math.min(granted, size + surplus)
    this.#booked += surplus
    this.#creditReturnedAt = this.#context.tuner?.now() ?? 0
    this.#sendCredit(this.#queue.open(size, credit))
    return credit
  }

  /** Opens a window of `size` bytes before the stream is accepted, for the bytes that the opener sends at once. */
  openEarly(size: number): void {
    this.#queue.open(size, size)
  }

  /** Opens the whole window of `size` bytes, or what it has more than the early one. Returns the credit to grant. */
  accept(size: number): number {
    this.#creditReturnedAt = this.#context.tuner?.now() ?? 0
    return this.#queue.grow(size - this.#queue.capacity)
  }

  /**
   * Takes the payload of a frame. `Overrun`: the payload exceeded the window, so the stream fails behind the bytes that
   * fitted. `BudgetSpent`: the owner has left, and the stream has discarded as much as it may.
   */
  receive(payload: Uint8Array): "Taken" | "Overrun" | "BudgetSpent" {
    switch (this.#state._tag) {
      case "Receiving": {
        const overrun = this.#queue.offer(payload) < payload.byteLength
        if (overrun) {
          this.#state = { _tag: "Failed", error: new NoCapacity({ streamId: this.#streamId }) }
          this.#settle()
        }
        this.#readers?.notifyAll()
        return overrun ? "Overrun" : "Taken"
      }
      case "Draining":
        this.#queue.discard(payload.byteLength)
        return this.#drain(this.#state, payload.byteLength) ? "Taken" : "BudgetSpent"
      default:
        this.#queue.discard(payload.byteLength)
        return "Taken"
    }
  }

  /** The peer's FIN. A reader that continues after `abandon` meets an error instead, because bytes were discarded. */
  end(): void {
    if (this.#state._tag === "Failed") return
    this.#state = this.#left ?? ended
    this.#settle()
    this.#readers?.notifyAll()
  }

  /** The session has ended. A FIN that came before remains the end. */
  fail(cause: TerminalError): void {
    this.#fail(new BrokenPipe({ ...this.#about, reason: "SessionEnded", written: 0, cause }))
  }

  /** The peer has ended its half abnormally. The bytes that arrived before can be read. */
  reset(reset: ResetInfo): void {
    if (this.#left === undefined) this.#fail(new StreamReset({ ...this.#about, ...reset, written: 0 }))
    else this.end()
  }

  /**
   * Reads no more: discards all bytes, returns no credit, and fails later reads. Returns whether the peer should be
   * told, because it may send more.
   */
  stop(reset: ResetInfo | undefined): boolean {
    if (this.#state._tag === "Stopped") return false
    const isFinal = this.#isFinal
    if (!isFinal) this.#state = { _tag: "Stopped", reset }
    else if (this.#queue.size > 0) this.#state = { _tag: "Failed", error: this.#stopError(reset) }
    this.#queue.takeAll()
    this.#settle()
    this.#readers?.notifyAll()
    return !isFinal
  }

  /** The owner has left, so nothing is read any more. Returns false when the unread bytes alone exceed the budget. */
  abandon(budget: number): boolean {
    const unread = this.#queue.size
    this.#queue.takeAll()
    this.#settle() // bytes that arrive from now on are discarded
    this.#readers?.notifyAll()
    if (this.#isFinal) {
      if (unread > 0) this.#state = { _tag: "Failed", error: this.#stopError(undefined) }
      return true
    }
    const draining: State = { _tag: "Draining", budget }
    this.#state = draining
    return this.#drain(draining, unread)
  }

  /** Whether the read deadline has passed. */
  setExpired(expired: boolean): void {
    this.#expired = expired
    if (expired) this.#readers?.notifyAll()
  }

  /** Takes the next chunk: none at the end. Interruption while waiting takes nothing. */
  get read(): Effect.Effect<Option.Option<Uint8Array>, ReadError> {
    return this.waitUntil(() => this.readNow())
  }

  /** The same without waiting: undefined while there is nothing to take and no reason to stop. */
  readNow(): Exit.Exit<Option.Option<Uint8Array>, ReadError> | undefined {
    const next = this.take()
    if (next === undefined) return undefined
    if (next === "End") return none
    return next instanceof Uint8Array ? Exit.succeed(Option.some(next)) : Exit.fail(next)
  }

  /** Calls back once when `readNow` may have an answer, possibly before this returns. Returns how to cancel that. */
  onReadable(wake: () => void): () => void {
    if (!this.#isReadable) return this.#waiters.add(wake)
    wake()
    return () => {}
  }

  /**
   * The chunks for a `Stream`. Chunks that have arrived cost no effect. Each pull emits one chunk, because a consumer
   * that stops early loses the rest of the chunks that were emitted together.
   */
  get chunks(): Channel.Channel<Chunk.Chunk<Uint8Array>, unknown, ReadError> {
    const arrival = Channel.fromEffect(this.waitUntil(() => this.#isReadable ? Effect.void : undefined))
    const next = (): Channel.Channel<Chunk.Chunk<Uint8Array>, unknown, ReadError> => {
      const taken = this.take()
      if (taken === undefined) return afterArrival
      if (taken === "End") return Channel.void
      return taken instanceof Uint8Array ? Channel.flatMap(Channel.write(Chunk.of(taken)), next) : Channel.fail(taken)
    }
    const afterArrival = Channel.flatMap(arrival, next)
    return Channel.suspend(next)
  }

  /** Runs the effect that `poll` returns, as soon as it returns any. `poll` runs in the waiting fiber. */
  waitUntil<A, E, R = never>(poll: () => Effect.Effect<A, E, R> | undefined): Effect.Effect<A, E, R> {
    return this.#waiters.waitUntil(poll)
  }

  /** Takes the next chunk, or tells why none follows; undefined while a reader has to wait. */
  take(): Uint8Array | ReadError | End | undefined {
    const chunk = this.#queue.take()
    if (chunk === undefined) return this.#stop
    this.#onTaken()
    return chunk
  }

  /** The same for up to `max` chunks, which return their credit together. */
  takeMany(max: number): Array<Uint8Array> | ReadError | End | undefined {
    if (this.#queue.size === 0) return this.#stop
    const chunks = max >= this.#queue.count
      ? this.#queue.takeAll()
      : Array.from({ length: max }, () => this.#queue.take()!)
    this.#onTaken()
    return chunks
  }

  /** How the stream ended, once all bytes are taken; undefined before. Read deadlines end nothing. */
  get outcome(): ReadError | End | undefined {
    return this.#queue.size > 0 ? undefined : this.#successor
  }

  /** Whether a reader that wants more than the unread chunks can get more by waiting. */
  get expectsMore(): boolean {
    return this.#stop === undefined && this.#queue.granted > 0
  }

  /** Whether there is a chunk to take, or a reason why none follows. */
  get #isReadable(): boolean {
    return this.#queue.size > 0 || this.#stop !== undefined
  }

  get #waiters(): Notify {
    return this.#readers ??= new Notify()
  }

  /** What the reader of an empty queue meets; undefined while the reader has to wait. */
  get #stop(): ReadError | End | undefined {
    return this.#successor ?? (this.#expired ? new ReadTimeout({ streamId: this.#streamId }) : undefined)
  }

  /** What follows the unread bytes; undefined while more bytes may follow. */
  get #successor(): ReadError | End | undefined {
    switch (this.#state._tag) {
      case "Receiving":
        return undefined
      case "Ended":
        return "End"
      case "Failed":
        return this.#state.error
      case "Draining":
        return this.#stopError(undefined)
      case "Stopped":
        return this.#stopError(this.#state.reset)
    }
  }

  /** Whether nothing more arrives. After an overrun the peer's writer still waits for credit. */
  get #isFinal(): boolean {
    const state = this.#state
    return state._tag === "Ended" || (state._tag === "Failed" && state.error._tag !== "NoCapacity")
  }

  /** What a reader meets that continues after the owner has left. Undefined while the owner has not. */
  get #left() {
    if (!this.isDiscarding) return undefined
    const reset = this.#state._tag === "Stopped" ? this.#state.reset : undefined
    return { _tag: "Failed", error: this.#stopError(reset) } as const
  }

  /** What a reader meets after a stop. Most streams have no such reader, and an error with its stack is expensive. */
  #stopError(reset: ResetInfo | undefined): ReadError {
    return reset === undefined
      ? new BrokenPipe({ ...this.#about, reason: "StreamEnded", written: 0 })
      : new StreamReset({ ...this.#about, ...reset, written: 0 })
  }

  get #about() {
    return { streamId: this.#streamId, operation: "read" } as const
  }

  #fail(error: ReadError): void {
    if (this.#state._tag !== "Receiving") return
    this.#state = { _tag: "Failed", error }
    this.#settle()
    this.#readers?.notifyAll()
  }

  /** Returns the credit of chunks that were taken. After a FIN or a failure the peer needs none. */
  #onTaken(): void {
    if (this.#state._tag === "Receiving") {
      const credit = this.#queue.returnCredit()
      if (credit > 0) this.#sendCredit(credit + this.#grow(credit))
      return
    }
    this.#settle()
    if (this.#queue.size === 0) this.#readers?.notifyAll() // a fiber may wait for the outcome
  }

  /** Grows the window if it slows the peer down: `read` bytes were read since credit was last returned. */
  #grow(read: number): number {
    const { memory, tuner } = this.#context
    if (tuner === undefined) return 0
    const now = tuner.now()
    const growth = tuner.growth(this.#queue.capacity, read, now - this.#creditReturnedAt)
    this.#creditReturnedAt = now
    if (growth === 0) return 0
    if (!memory.bookGrowth(growth)) {
      tuner.release(growth)
      return 0
    }
    this.#growth += growth
    return this.#queue.grow(growth)
  }

  /** Gives back all that is booked beyond the unread bytes, because nothing more is stored. The growth goes first. */
  #settle(): void {
    const free = this.#booked + this.#growth - this.#queue.size
    if (free === 0) return
    const growth = Math.min(free, this.#growth)
    const window = free - growth
    this.#growth -= growth
    this.#booked -= window
    this.#context.tuner?.release(growth)
    this.#context.memory.giveBack(window, growth)
  }

  /** Returns the credit of discarded bytes; false when the budget is spent. */
  #drain(draining: { budget: number }, discarded: number): boolean {
    draining.budget -= discarded
    if (draining.budget < 0) return false
    this.#sendCredit(this.#queue.returnCredit())
    return true
  }

  #sendCredit(credit: number): void {
    if (credit > 0) this.#context.scheduler.sendCredit(this.#streamId, credit)
  }
}

const none = Exit.succeed(Option.none())
