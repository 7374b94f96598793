import * as Effect from "effect/Effect"
import * as Frame from "../Frame.js"
import type { Transport } from "../Transport.js"
import type { Counters } from "./counters.js"
import { WaitList } from "./waitList.js"

/** A message in parts: a header, and the chunks of its payload. The chunks are the writers', until it is handed over. */
export type FrameParts = readonly [header: Uint8Array, ...payload: Array<Uint8Array>]

/** A stream as the outbox sees it: a source of frames that waits for its turn. */
export interface Sender {
  /** Whether it stands in the outbox's queue; owned by the outbox. */
  queued: boolean
  /** Takes its next frame, with at most `maxPayload` bytes, or undefined when nothing may go now. */
  readonly nextFrame: (maxPayload: number) => FrameParts | undefined
  /** Whether another frame could go right after the one taken. */
  readonly hasFrame: () => boolean
}

/**
 * Who sends next. Control frames go first; then each stream that has something gets one bounded frame in turn. Nothing is
 * handed over while the transport holds its watermark, so a frame that matters never stands behind more than that.
 */
export class Outbox {
  readonly #transport: Transport
  readonly #maxPayload: number
  readonly #counters: Counters
  #control: Array<Uint8Array> = []
  /** Credit that waits to be returned, merged per stream. */
  readonly #credit = new Map<number, number>()
  readonly #senders: Array<Sender> = []
  readonly #empty = new WaitList()
  #discarding = false

  constructor(transport: Transport, maxPayload: number, counters: Counters) {
    this.#transport = transport
    this.#maxPayload = maxPayload
    this.#counters = counters
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

  sendCredit(id: number, bytes: number): void {
    if (this.#discarding) return
    this.#credit.set(id, Math.min((this.#credit.get(id) ?? 0) + bytes, Frame.maxUint32))
    this.flush()
  }

  /** Whether a frame of a stream could leave at once without passing anybody. */
  isClear(): boolean {
    return this.#isIdle() && this.#transport.isWritable()
  }

  /** Hands over a frame of a stream, for which `isClear` has just said yes. */
  sendNow(frame: FrameParts): void {
    this.#handOver(frame)
  }

  /** Gives a sender its place in the queue and sends what may go. */
  schedule(sender: Sender): void {
    if (this.#discarding) return
    if (!sender.queued) {
      sender.queued = true
      this.#senders.push(sender)
    }
    this.flush()
  }

  /** Hands over what the transport takes; the transport's `onWritable` brings us back here for the rest. */
  flush(): void {
    while (this.#transport.isWritable()) {
      const frame = this.#next()
      if (frame === undefined) {
        this.#empty.wakeAll()
        return
      }
      this.#handOver(frame)
    }
  }

  /** The transport is gone; so is all that waits for it, or will. */
  discard(): void {
    this.#discarding = true
    this.#control = []
    this.#credit.clear()
    for (const sender of this.#senders.splice(0)) sender.queued = false
    this.#empty.wakeAll()
  }

  /** Waits until everything has been handed to the transport. */
  readonly awaitEmpty: Effect.Effect<void> = this.#empty.until(() => (this.#isIdle() ? Effect.void : undefined))

  #isIdle(): boolean {
    return this.#senders.length === 0 && this.#control.length === 0 && this.#credit.size === 0
  }

  #next(): FrameParts | undefined {
    if (this.#control.length > 0) return [this.#control.shift()!]
    if (this.#credit.size > 0) return this.#nextCredit()
    while (this.#senders.length > 0) {
      const sender = this.#senders.shift()!
      const frame = sender.nextFrame(this.#maxPayload)
      sender.queued = sender.hasFrame()
      if (sender.queued) this.#senders.push(sender)
      if (frame !== undefined) return frame
    }
    return undefined
  }

  #nextCredit(): FrameParts | undefined {
    for (const [id, bytes] of this.#credit) {
      this.#credit.delete(id)
      return [Frame.ack(id, bytes)]
    }
    return undefined
  }

  #handOver(frame: FrameParts): void {
    this.#counters.sent(frame)
    this.#transport.send(frame)
  }
}
