import * as Effect from "effect/Effect"
import type { Share } from "../../SharedLimits.js"
import type { Transport } from "../../Transport.js"
import type { Counters } from "../observe/counters.js"
import { Fifo } from "../sync/fifo.js"
import { Notify } from "../sync/notify.js"
import * as Frame from "../wire/frame.js"
import { type FrameParts, payloadSize } from "../wire/frameParts.js"
import { type CongestionController, type Sender, smallFrame } from "./congestion.js"

/** A stream that waits for its turn to send a frame. */
export interface FrameSource extends Sender {
  readonly id: number
  /** Whether the source stands in a queue of the scheduler, which owns this field. */
  queued: boolean
  /** Whether the waiting bytes are, or are the rest of, more than a small frame. The scheduler owns this field, too. */
  isLarge: boolean
  /** Bytes that wait to be sent. */
  readonly waiting: number
  /** Takes the next frame, with at most `maxPayload` bytes. Returns undefined when nothing may be sent now. */
  readonly nextFrame: (maxPayload: number) => FrameParts | undefined
  /** Whether another frame could follow the one that was taken. */
  readonly hasFrame: () => boolean
}

/**
 * Decides which stream sends next:
 *
 * 1. control frames: SYN, FIN and the ACK that accepts a stream
 * 2. credit, merged per stream
 * 3. interactive streams, whose waiting bytes fit into one small frame
 * 4. bulk streams, one bounded frame each in turn
 *
 * After 64 frames of interactive streams in a row, a bulk stream has its turn. Nothing is sent while the transport
 * holds its high-water mark, and no data beyond the congestion window, so an urgent frame never waits behind more than
 * that.
 */
export class SendScheduler {
  readonly #transport: Transport
  readonly #maxPayload: number
  readonly #counters: Counters
  /** Undefined where no pings measure the network. */
  #congestion: CongestionController | undefined
  readonly #control = new Fifo<Uint8Array>()
  /** Credit that waits to be returned, merged per stream. */
  readonly #credit = new Map<number, number>()
  readonly #interactive = new Fifo<FrameSource>()
  readonly #bulk = new Fifo<FrameSource>()
  /** How many interactive frames were sent since the last turn of a bulk stream. */
  #interactiveRun = 0
  /** The last frame, if `trySend` sent it: its stream and the size of its payload. */
  #last: FrameSource | undefined
  #lastSize = 0
  readonly #empty = new Notify()
  /** The part of the shared limit that the waiting control frames take. */
  readonly #answers: Share
  #isClosed = false

  constructor(
    transport: Transport,
    maxPayload: number,
    counters: Counters,
    answers: Share,
    firstFrame: Uint8Array | undefined
  ) {
    this.#transport = transport
    this.#maxPayload = maxPayload
    this.#counters = counters
    this.#answers = answers
    // Waits for the first `flush` or frame, when the session listens.
    if (firstFrame !== undefined) this.#control.push(firstFrame)
  }

  /** Limits the bytes in flight from now on. */
  limitBy(congestion: CongestionController): void {
    this.#congestion = congestion
  }

  /** How many control frames wait for the transport. */
  get waitingControl(): number {
    return this.#control.length
  }

  sendControl(frame: Uint8Array): void {
    if (this.#isClosed) return
    this.#control.push(frame)
    this.flush()
  }

  /**
   * Sends a reply that the peer can cause without limit. Returns false when too many replies wait for the peer to read.
   */
  sendAnswer(frame: Uint8Array): boolean {
    this.sendControl(frame)
    const waiting = this.#control.length
    const more = waiting - this.#answers.held
    return more <= 0 || (waiting <= maxWaitingControl && this.#answers.take(more))
  }

  sendCredit(id: number, bytes: number): void {
    if (this.#isClosed) return
    // The fast path skips the map, which V8 would allocate anew at each insertion into an empty one.
    if (this.#isIdle() && this.#transport.pollWritable()) return void this.#transmit([Frame.ack(id, bytes)])
    this.#credit.set(id, Math.min((this.#credit.get(id) ?? 0) + bytes, Frame.maxUint32))
    this.flush()
  }

  /**
   * Sends `size` bytes, if all of them may be sent now, ahead of no waiting frame. Otherwise sends nothing and returns
   * false. The bytes join the DAT frame that was sent last where the transport still has that frame.
   *
   * @param more whether another frame follows in the same step
   */
  trySend(source: FrameSource, payload: ReadonlyArray<Uint8Array>, size: number, more = false): boolean {
    if (this.#isClosed || !this.#isIdle() || size > this.#maxPayload || !this.#transport.pollWritable()) return false
    if (this.#congestion !== undefined && this.#congestion.reserve(size) < size) return false
    if (this.#extend(source, payload, size)) return true
    this.#transmit([Frame.datHeader(source.id), ...payload], more)
    this.#congestion?.onSent(size, source)
    this.#last = source
    this.#lastSize = size
    return true
  }

  /** Queues a source, unless it is queued already, and sends what may be sent. */
  schedule(source: FrameSource): void {
    if (this.#isClosed) return
    if (!source.queued) this.#enqueue(source)
    this.flush()
  }

  /** Sends what may be sent. The transport's `onWritable` and the controller's `onRoom` call again for the rest. */
  flush(): void {
    while (this.#transport.pollWritable()) {
      if (this.#sendNext()) continue
      if (this.#isIdle()) this.#empty.notifyAll()
      return
    }
  }

  /**
   * Drops the credit of a stream that is over: the peer may use the id again, for a stream that this credit is not for.
   */
  forgetCredit(id: number): void {
    this.#credit.delete(id)
  }

  /** The transport is closed: drops all that waits, and all that follows. */
  clear(): void {
    this.#isClosed = true
    this.#control.clear()
    this.#answers.giveBack(this.#answers.held)
    this.#credit.clear()
    for (const source of [...this.#interactive.clear(), ...this.#bulk.clear()]) source.queued = false
    this.#empty.notifyAll()
  }

  /** Waits until all frames have been given to the transport. */
  readonly awaitEmpty: Effect.Effect<void> = this.#empty.waitUntil(() => (this.#isIdle() ? Effect.void : undefined))

  #isIdle(): boolean {
    return this.#interactive.length === 0 && this.#bulk.length === 0 && this.#control.length === 0 &&
      this.#credit.size === 0
  }

  #enqueue(source: FrameSource): void {
    source.queued = true
    if (source.waiting > smallFrame) source.isLarge = true
    if (source.waiting <= smallFrame) this.#interactive.push(source)
    else this.#bulk.push(source)
  }

  /** Sends the next frame. Returns false when none may be sent. */
  #sendNext(): boolean {
    if (this.#control.length > 0) this.#sendNextControl()
    else if (this.#credit.size > 0) this.#sendNextCredit()
    else {
      return this.#interactiveRun < maxInteractiveRun
        ? this.#sendNextOf(this.#interactive) || this.#sendNextOf(this.#bulk)
        : this.#sendNextOf(this.#bulk) || this.#sendNextOf(this.#interactive)
    }
    return true
  }

  #sendNextOf(queue: Fifo<FrameSource>): boolean {
    for (let source = queue.first; source !== undefined; source = queue.first) {
      const room = this.#reserve(queue === this.#interactive ? smallFrame : Math.max(source.waiting, 1))
      if (room === 0) return false
      queue.shift()
      source.queued = false
      const frame = source.nextFrame(room)
      const { isLarge } = source
      if (source.waiting === 0) source.isLarge = false
      if (source.hasFrame()) this.#enqueue(source)
      if (frame === undefined) continue
      this.#interactiveRun = queue === this.#interactive ? this.#interactiveRun + 1 : 0
      const size = this.#transmit(frame)
      if (size > 0) this.#congestion?.onSent(size, source, isLarge)
      return true
    }
    return false
  }

  #sendNextControl(): void {
    const frame = this.#control.shift()!
    if (this.#control.length === 0) this.#answers.giveBack(this.#answers.held)
    this.#transmit([frame])
  }

  #sendNextCredit(): void {
    for (const [id, bytes] of this.#credit) {
      this.#credit.delete(id)
      this.#transmit([Frame.ack(id, bytes)])
      return
    }
  }

  /** Returns how many of `wanted` bytes may be sent now as one frame. */
  #reserve(wanted: number): number {
    const most = Math.min(wanted, this.#maxPayload)
    return this.#congestion?.reserve(most) ?? most
  }

  /** Adds bytes to the last frame. Returns false when they need a frame of their own. */
  #extend(source: FrameSource, payload: ReadonlyArray<Uint8Array>, size: number): boolean {
    if (this.#last !== source || this.#lastSize + size > this.#maxPayload) return false
    if (this.#transport.extend?.(payload) !== true) return false
    this.#lastSize += size
    this.#counters.bytesOut += size
    this.#congestion?.onSent(size, source, this.#lastSize > smallFrame)
    return true
  }

  /** Sends a frame. Returns the size of its payload. */
  #transmit(frame: FrameParts, more = false): number {
    const size = payloadSize(frame)
    this.#counters.sent(frame, size)
    this.#last = undefined
    this.#transport.send(frame, more)
    return size
  }
}

/** As many bytes of small frames as one frame of a bulk stream holds. */
const maxInteractiveRun = 64

/** The control frames that may wait for one peer, far beyond the number that two honest peers owe each other. */
const maxWaitingControl = 10_000
