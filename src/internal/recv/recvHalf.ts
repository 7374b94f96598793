import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { BrokenPipe, NoCapacity, type ReadError, ReadTimeout, type TerminalError } from "../../WsmuxError.js"
import type { ReceiveMemory } from "../memory/receiveMemory.js"
import { Notify } from "../sync/notify.js"
import { ReceiveWindow } from "../wire/receiveWindow.js"
import { BoundedByteQueue } from "./boundedByteQueue.js"
import type { WindowTuner } from "./windowTuner.js"

/** What the receiving half asks of its session. */
export interface RecvContext {
  /** Returns credit to the peer. */
  readonly sendCredit: (streamId: number, bytes: number) => void
  /** Lets windows grow, where that is wanted. */
  readonly tuner: WindowTuner | undefined
  /** Keeps account of the bytes that the windows can make this process store. */
  readonly memory: Pick<ReceiveMemory, "bookSurplus" | "bookGrowth" | "giveBack">
}

/**
 * How it goes on once the buffered bytes are read:
 *
 * - `Receiving`: more may come
 * - `Ended`: the peer's FIN has come; nothing can change that any more
 * - `Failed`: bytes are lost, or the session is over
 * - `Draining`: nobody reads any more; bytes are thrown away and their credit is returned
 */
type State =
  | { readonly _tag: "Receiving" }
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Failed"; readonly error: ReadError }
  | { readonly _tag: "Draining"; budget: number }

const receiving: State = { _tag: "Receiving" }
const ended: State = { _tag: "Ended" }

/**
 * The receiving half of a stream: a queue bounded in bytes by the window. It is this package's own because Effect's
 * `Queue` bounds messages, not bytes, and cannot merge small ones.
 */
export class RecvHalf {
  readonly #streamId: number
  readonly #link: RecvContext
  readonly #queue = new BoundedByteQueue()
  /** Undefined until somebody reads: an idle stream is kept small. */
  #readers: Notify | undefined
  /** Without a window (not accepted yet) nothing may come. */
  #window = closedWindow
  #state: State = receiving
  #expired = false
  /** When credit was last granted, by the tuner's clock. */
  #granting = 0
  /** The bytes that are booked for the window as it was opened, and for its growth. */
  #booked: number
  #growth = 0

  /** @param booked the size of the window, which the owner has booked */
  constructor(streamId: number, booked: number, link: RecvContext) {
    this.#streamId = streamId
    this.#booked = booked
    this.#link = link
  }

  get buffered(): number {
    return this.#queue.size
  }

  get granted(): number {
    return this.#window.granted
  }

  /** Whether the owning scope has closed, so that arriving bytes are discarded. */
  get isDiscarding(): boolean {
    return this.#state._tag === "Draining"
  }

  /**
   * Opens the window: `size` is the size that this end wants, `granted` the credit that the peer believes to have. Returns
   * the credit that the stream stands by, which is less than `granted` where memory is short.
   */
  open(size: number, granted: number): number {
    const surplus = granted > size ? this.#link.memory.bookSurplus(granted - size) : 0
    const credit = Math.min(granted, size + surplus)
    this.#booked += surplus
    this.#window = new ReceiveWindow(size, credit)
    this.#granting = this.#link.tuner?.now() ?? 0
    this.#return(this.#window.topUp())
    return credit
  }

  /**
   * Takes the payload of a frame. `Overrun`: it was more than the window; the stream fails after what fitted.
   * `BudgetSpent`: nobody reads it, and enough has been thrown away.
   */
  receive(payload: Uint8Array): "Taken" | "Overrun" | "BudgetSpent" {
    const fit = this.#window.receive(payload.byteLength)
    switch (this.#state._tag) {
      case "Receiving": {
        const overrun = fit < payload.byteLength
        this.#queue.push(overrun ? payload.subarray(0, fit) : payload)
        if (overrun) {
          this.#state = { _tag: "Failed", error: new NoCapacity({ streamId: this.#streamId }) }
          this.#settle()
        }
        this.#readers?.notifyAll()
        return overrun ? "Overrun" : "Taken"
      }
      case "Draining":
        return this.#drain(this.#state, payload.byteLength, fit) ? "Taken" : "BudgetSpent"
      default:
        return "Taken"
    }
  }

  /** The peer's FIN. To whoever still reads what was left it is no end: bytes before it were thrown away. */
  end(): void {
    if (this.#state._tag === "Failed") return
    this.#state = this.#state._tag === "Draining" ? this.#left : ended
    this.#settle()
    this.#readers?.notifyAll()
  }

  /** The session is over. A FIN that had come before stays an end. */
  fail(cause: TerminalError): void {
    if (this.#state._tag !== "Receiving") return
    const error = new BrokenPipe({ streamId: this.#streamId, operation: "read", written: 0, cause })
    this.#state = { _tag: "Failed", error }
    this.#settle()
    this.#readers?.notifyAll()
  }

  /** Nobody will read any more. False when what was unread has spent the budget already. */
  abandon(budget: number): boolean {
    const unread = this.#queue.size
    this.#queue.takeAll()
    this.#settle() // what arrives from now on is discarded
    this.#readers?.notifyAll()
    // After a FIN or the session's end nothing more comes; after an overrun the peer's writer still waits for credit.
    if (this.#state._tag === "Ended" || (this.#state._tag === "Failed" && this.#state.error._tag !== "NoCapacity")) {
      if (unread > 0) this.#state = this.#left
      return true
    }
    const draining: State = { _tag: "Draining", budget }
    this.#state = draining
    return this.#drain(draining, unread, this.#window.buffered)
  }

  /** Whether the read deadline has passed. */
  setExpired(expired: boolean): void {
    this.#expired = expired
    if (expired) this.#readers?.notifyAll()
  }

  /** The next chunk, or none at the end. */
  get read(): Effect.Effect<Option.Option<Uint8Array>, ReadError> {
    return this.#signal.waitUntil(() => this.readNow())
  }

  /** The same without waiting: undefined if it has yet to come. */
  readNow(): Exit.Exit<Option.Option<Uint8Array>, ReadError> | undefined {
    const next = this.#take()
    if (next === undefined) return undefined
    if (next === "end") return none
    return next instanceof Uint8Array ? Exit.succeed(Option.some(next)) : Exit.fail(next)
  }

  /** Calls back once when `readNow` may have an answer, at once or in the middle of its work; answers how to give that up. */
  onReadable(wake: () => void): () => void {
    if (!this.#isReadable) return this.#signal.add(wake)
    wake()
    return () => {}
  }

  /**
   * The chunks for a `Stream`: those that are there cost no effect. One at a time, since a consumer that stops early loses
   * the rest of what was emitted together.
   */
  get chunks(): Channel.Channel<Chunk.Chunk<Uint8Array>, unknown, ReadError> {
    const arrival = Channel.fromEffect(this.#arrival)
    const next: Channel.Channel<Chunk.Chunk<Uint8Array>, unknown, ReadError> = Channel.suspend(() => {
      const taken = this.#take()
      if (taken === undefined) return Channel.flatMap(arrival, () => next)
      if (taken === "end") return Channel.void
      return taken instanceof Uint8Array
        ? Channel.flatMap(Channel.write(Chunk.of(taken)), () => next)
        : Channel.fail(taken)
    })
    return next
  }

  /** Whether there is something to take, or a reason why there will be nothing. */
  get #isReadable(): boolean {
    return this.#queue.size > 0 || this.#stop() !== undefined
  }

  get #signal(): Notify {
    return this.#readers ??= new Notify()
  }

  /** Waits until there is something to take. */
  get #arrival(): Effect.Effect<void> {
    return this.#signal.waitUntil(() => this.#isReadable ? Effect.void : undefined)
  }

  /** Takes the next chunk, or tells why there will be none; undefined when it has yet to come. */
  #take(): Uint8Array | ReadError | "end" | undefined {
    const chunk = this.#queue.shift()
    if (chunk === undefined) return this.#stop()
    this.#consume(chunk.byteLength)
    return chunk
  }

  /** What a reader of an empty queue meets; undefined while it shall wait. */
  #stop(): ReadError | "end" | undefined {
    switch (this.#state._tag) {
      case "Ended":
        return "end"
      case "Failed":
        return this.#state.error
      case "Draining":
        return this.#left.error
      case "Receiving":
        return this.#expired ? new ReadTimeout({ streamId: this.#streamId }) : undefined
    }
  }

  get #left() {
    const error = new BrokenPipe({ streamId: this.#streamId, operation: "read", written: 0 })
    return { _tag: "Failed", error } as const
  }

  #consume(bytes: number): void {
    // After a FIN or a failure no reader waits for more, and credit that is not returned must not count as granted.
    if (this.#state._tag !== "Receiving") return this.#settle()
    const credit = this.#window.consume(bytes)
    if (credit > 0) this.#return(credit + this.#grow(credit))
  }

  /** Grows the window if it holds the peer back: `read` bytes were read since credit was last granted. */
  #grow(read: number): number {
    const { tuner } = this.#link
    if (tuner === undefined) return 0
    const now = tuner.now()
    const growth = tuner.growth(this.#window.size, read, now - this.#granting)
    this.#granting = now
    if (growth === 0) return 0
    if (!this.#link.memory.bookGrowth(growth)) {
      tuner.release(growth)
      return 0
    }
    this.#growth += growth
    return this.#window.grow(growth)
  }

  /** Nothing more is stored: gives back all that is booked beyond the bytes that are unread, the growth first. */
  #settle(): void {
    const free = this.#booked + this.#growth - this.#queue.size
    if (free === 0) return
    const growth = Math.min(free, this.#growth)
    const window = free - growth
    this.#growth -= growth
    this.#booked -= window
    this.#link.tuner?.release(growth)
    this.#link.memory.giveBack(window, growth)
  }

  #drain(draining: { budget: number }, arrived: number, booked: number): boolean {
    draining.budget -= arrived
    const credit = this.#window.consume(booked)
    if (draining.budget >= 0) this.#return(credit)
    return draining.budget >= 0
  }

  #return(credit: number): void {
    if (credit > 0) this.#link.sendCredit(this.#streamId, credit)
  }
}

const none = Exit.succeed(Option.none())

const closedWindow = new ReceiveWindow(0, 0)
