import type { StreamSnapshot } from "../../SessionSnapshot.js"
import type { TerminalError } from "../../WsmuxError.js"
import { type RecvContext, RecvHalf } from "../recv/recvHalf.js"
import { type SendContext, SendHalf, type SendHalfOwner } from "../send/sendHalf.js"
import * as HalfClose from "../wire/streamState.js"

/** All that a stream knows of its session. */
export interface StreamContext extends RecvContext, SendContext {
  readonly maxPeerWindow: number
  readonly discardLimit: number
  /** No frame of this stream concerns the session any more. */
  readonly over: (stream: StreamProtocol) => void
}

/** A stream's two halves, and the half-close machine that joins them. */
export class StreamProtocol implements SendHalfOwner {
  readonly id: number
  readonly recvHalf: RecvHalf
  readonly sendHalf: SendHalf
  /** How large its window is from the start. */
  readonly window: number
  /** Whether a handler of `run` works on it, which keeps its place among the streams of the session taken. */
  isServed = false
  readonly #link: StreamContext
  #state: HalfClose.State
  /** Whether so much was thrown away that the peer's end is not waited for. */
  #spent = false

  /** @param credit what we may send before the peer grants any */
  constructor(id: number, state: "Opening" | "AwaitingAccept", window: number, credit: number, link: StreamContext) {
    this.id = id
    this.window = window
    this.#link = link
    this.#state = state
    this.recvHalf = new RecvHalf(id, window, link)
    this.sendHalf = new SendHalf(id, credit, link, this)
  }

  get state(): HalfClose.State {
    return this.#state
  }

  /** We accept the peer's stream. It learns our window, and believes to have as much. */
  accept(): void {
    this.#move("sendAccept")
    this.recvHalf.open(this.window, this.window)
  }

  finSent(): void {
    this.#move("sendClose")
    if (this.#spent) this.#link.over(this)
  }

  /** Nobody waits for the peer's answer any more. */
  cancel(): void {
    this.#move("cancel")
  }

  /** Nobody holds the stream any more: end what is not ended, and let the peer's writer finish. */
  leave(): void {
    this.sendHalf.abandon()
    if (!this.recvHalf.abandon(this.#link.discardLimit)) this.#spend()
  }

  /**
   * The peer accepts our stream with a window of `granted` bytes, and believes that ours is as large: so that much may
   * come, whatever our own size, up to the ceiling. What is within our own size is no surplus, wherever the ceiling is.
   * Returns the part of the peer's belief that the stream cannot stand by.
   */
  recvAccept(granted: number): number {
    const cancelled = this.#state === "Cancelling"
    this.#move("recvAccept")
    this.sendHalf.grant(granted)
    const ceiling = Math.max(this.window, this.#link.maxPeerWindow)
    const credit = this.recvHalf.open(this.window, Math.min(granted, ceiling))
    if (cancelled) this.leave()
    return cancelled ? 0 : granted - credit
  }

  /** `Misplaced`: the stream cannot receive bytes now. */
  recvDat(payload: Uint8Array): "Taken" | "Overrun" | "Misplaced" {
    if (!HalfClose.receives(this.#state)) return "Misplaced"
    const verdict = this.recvHalf.receive(payload)
    if (verdict !== "BudgetSpent") return verdict
    this.#spend()
    return "Taken"
  }

  /** False when the peer had ended already. */
  recvFin(): boolean {
    if (HalfClose.next(this.#state, "recvClose") === undefined) return false
    this.recvHalf.end()
    this.#move("recvClose")
    return true
  }

  /** The session is over. */
  fail(cause: TerminalError): void {
    this.recvHalf.fail(cause)
    this.sendHalf.fail(cause)
  }

  snapshot(): StreamSnapshot {
    return {
      id: this.id,
      state: this.#state,
      bufferedBytes: this.recvHalf.buffered,
      receiveCredit: this.recvHalf.granted,
      discarding: this.recvHalf.isDiscarding,
      sendCredit: this.sendHalf.credit,
      waitingBytes: this.sendHalf.waiting
    }
  }

  /**
   * Nothing more of the peer's is wanted. A FIN of ours that waits keeps the stream known, since somebody may wait for
   * it.
   */
  #spend(): void {
    this.#spent = true
    if (this.sendHalf.hasEnded) this.#link.over(this)
  }

  #move(event: HalfClose.Event): void {
    const next = HalfClose.next(this.#state, event)
    if (next === undefined) return
    this.#state = next
    if (next === "Closed") this.#link.over(this)
  }
}
