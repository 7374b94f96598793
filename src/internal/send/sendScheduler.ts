import * as Effect from "effect/Effect"
import type { Share } from "../../SharedLimits.js"
import type { Transport } from "../../Transport.js"
import type { Counters } from "../observe/counters.js"
import { Notify } from "../sync/notify.js"
import * as Frame from "../wire/frame.js"
import type { FrameParts } from "../wire/frameParts.js"
import { type CongestionController, smallFrame } from "./congestion.js"

/** A stream as the outbox sees it: a source of frames that waits for its turn. */
export interface FrameSource {
  /** Whether it stands in a queue of the outbox; owned by the outbox. */
  queued: boolean
  /** Bytes that wait to be sent. */
  readonly waiting: number
  /** Takes its next frame, with at most `maxPayload` bytes, or undefined when nothing may go now. */
  readonly nextFrame: (maxPayload: number) => FrameParts | undefined
  /** Whether another frame could go right after the one taken. */
  readonly hasFrame: () => boolean
}

/**
 * Who sends next. Control frames go first; then streams with little to send, as far as that does not starve the others;
 * then each of the others gets one bounded frame in turn. Nothing is handed over while the transport holds its highWaterMark,
 * and no data while enough is on its way, so a frame that matters never stands behind more than that.
 */
export class SendScheduler {
  readonly #transport: Transport
  readonly #maxPayload: number
  readonly #counters: Counters
  /** Undefined where the transport cannot measure what is on its way. */
  readonly #flight: CongestionController | undefined
  #control: Array<Uint8Array> = []
  /** Credit that waits to be returned, merged per stream. */
  readonly #credit = new Map<number, number>()
  /** Streams whose rest fits into one small frame, and all others. */
  readonly #light: Array<FrameSource> = []
  readonly #heavy: Array<FrameSource> = []
  /** How many small frames have passed the heavy streams since one of those had its turn. */
  #passed = 0
  readonly #empty = new Notify()
  /** What the control frames that wait take of the limit for all sessions. */
  readonly #answers: Share
  #discarding = false

  constructor(
    transport: Transport,
    maxPayload: number,
    counters: Counters,
    flight: CongestionController | undefined,
    answers: Share
  ) {
    this.#transport = transport
    this.#maxPayload = maxPayload
    this.#counters = counters
    this.#flight = flight
    this.#answers = answers
  }

  /** How many control frames wait for the socket. */
  get waitingControl(): number {
    return this.#control.length
  }

  sendControl(frame: Uint8Array): void {
    if (this.#discarding) return
    this.#control.push(frame)
    this.flush()
  }

  /** Sends what the peer can ask for as often as it likes; false when too many such answers wait for the peer to read. */
  sendAnswer(frame: Uint8Array): boolean {
    this.sendControl(frame)
    const waiting = this.#control.length
    const more = waiting - this.#answers.held
    return more <= 0 || (waiting <= maxWaitingControl && this.#answers.take(more))
  }

  sendCredit(id: number, bytes: number): void {
    if (this.#discarding) return
    // Most leave at once. A map that one comes to and goes from is made anew each time.
    if (this.#isIdle() && this.#transport.pollWritable()) return this.#handOver([Frame.ack(id, bytes)])
    this.#credit.set(id, Math.min((this.#credit.get(id) ?? 0) + bytes, Frame.maxUint32))
    this.flush()
  }

  /** Whether a frame of a stream, with so many bytes, could leave at once without passing anybody. */
  isClear(size: number): boolean {
    return this.#isIdle() && size <= this.#maxPayload && this.#transport.pollWritable() && this.#room(size) === size
  }

  /** Hands over a frame of a stream, for which `isClear` has just said yes. */
  sendNow(frame: FrameParts): void {
    this.#handOver(frame)
  }

  /** Gives a sender its place in a queue and sends what may go. */
  schedule(sender: FrameSource): void {
    if (this.#discarding) return
    if (!sender.queued) this.#enqueue(sender)
    this.flush()
  }

  /** Hands over what may go now; the transport's `onWritable` and the flight's `onRoom` bring us back for the rest. */
  flush(): void {
    while (this.#transport.pollWritable()) {
      const frame = this.#next()
      if (frame === undefined) {
        if (this.#isIdle()) this.#empty.notifyAll()
        return
      }
      this.#handOver(frame)
    }
  }

  /** The stream is over: the peer may use its id again, for a stream to which this credit does not belong. */
  forgetCredit(id: number): void {
    this.#credit.delete(id)
  }

  /** The transport is gone; so is all that waits for it, or will. */
  clear(): void {
    this.#discarding = true
    this.#control = []
    this.#answers.giveBack(this.#answers.held)
    this.#credit.clear()
    for (const sender of [...this.#light.splice(0), ...this.#heavy.splice(0)]) sender.queued = false
    this.#empty.notifyAll()
  }

  /** Waits until everything has been handed to the transport. */
  readonly awaitEmpty: Effect.Effect<void> = this.#empty.waitUntil(() => (this.#isIdle() ? Effect.void : undefined))

  /** How many of so many bytes may leave now as one frame. */
  #room(wanted: number): number {
    const most = Math.min(wanted, this.#maxPayload)
    return this.#flight?.reserve(most) ?? most
  }

  #isIdle(): boolean {
    return this.#light.length === 0 && this.#heavy.length === 0 && this.#control.length === 0 && this.#credit.size === 0
  }

  #enqueue(sender: FrameSource): void {
    sender.queued = true
    if (sender.waiting <= smallFrame) this.#light.push(sender)
    else this.#heavy.push(sender)
  }

  #next(): FrameParts | undefined {
    if (this.#control.length > 0) return [this.#nextControl()]
    if (this.#credit.size > 0) return this.#nextCredit()
    return this.#passed < maxPassed
      ? this.#nextOf(this.#light) ?? this.#nextOf(this.#heavy)
      : this.#nextOf(this.#heavy) ?? this.#nextOf(this.#light)
  }

  /** The next frame of a queue, if there is room for it. */
  #nextOf(queue: Array<FrameSource>): FrameParts | undefined {
    while (queue.length > 0) {
      const room = this.#room(queue === this.#light ? smallFrame : Math.max(queue[0]!.waiting, 1))
      if (room === 0) return undefined
      const sender = queue.shift()!
      sender.queued = false
      const frame = sender.nextFrame(room)
      if (sender.hasFrame()) this.#enqueue(sender)
      if (frame === undefined) continue
      this.#passed = queue === this.#light ? this.#passed + 1 : 0
      return frame
    }
    return undefined
  }

  #nextControl(): Uint8Array {
    const frame = this.#control.shift()!
    if (this.#control.length === 0) this.#answers.giveBack(this.#answers.held)
    return frame
  }

  #nextCredit(): FrameParts | undefined {
    for (const [id, bytes] of this.#credit) {
      this.#credit.delete(id)
      return [Frame.ack(id, bytes)]
    }
    return undefined
  }

  #handOver(frame: FrameParts): void {
    const payload = this.#counters.sent(frame)
    this.#transport.send(frame)
    if (payload > 0) this.#flight?.onSent(payload)
  }
}

/** How many small frames may pass those who have more to send: as many bytes as one of their frames. */
const maxPassed = 64

/** The control frames that may wait for one peer: far beyond what two honest peers owe each other. */
const maxWaitingControl = 10_000
