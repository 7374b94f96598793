import type { StreamSnapshot } from "../../Session.js"
import type { TerminalError } from "../../WsmuxError.js"
import * as HalfClose from "../wire/streamState.js"
import { Incoming, type IncomingLink } from "../recv/recvHalf.js"
import { Outgoing, type OutgoingLink, type OutgoingOwner } from "../send/sendHalf.js"

/** All that a stream knows of its session. */
export interface StreamLink extends IncomingLink, OutgoingLink {
  readonly maxPeerWindow: number
  readonly drainBudget: number
  /** No frame of this stream concerns the session any more. */
  readonly over: (stream: StreamState) => void
}

/** A stream's two halves, and the half-close machine that joins them. */
export class StreamState implements OutgoingOwner {
  readonly id: number
  readonly incoming: Incoming
  readonly outgoing: Outgoing
  /** How large its window is from the start. */
  readonly window: number
  /** Whether a handler of `run` works on it, which keeps its place among the streams of the session taken. */
  isServed = false
  readonly #link: StreamLink
  #state: HalfClose.State
  /** Whether so much was thrown away that the peer's end is not waited for. */
  #spent = false

  /** @param credit what we may send before the peer grants any */
  constructor(id: number, state: "Opening" | "Pending", window: number, credit: number, link: StreamLink) {
    this.id = id
    this.window = window
    this.#link = link
    this.#state = state
    this.incoming = new Incoming(id, window, link)
    this.outgoing = new Outgoing(id, credit, link, this)
  }

  get state(): HalfClose.State {
    return this.#state
  }

  /** We accept the peer's stream. It learns our window, and believes to have as much. */
  accept(): void {
    this.#move("sendAccept")
    this.incoming.open(this.window, this.window)
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
    this.outgoing.abandon()
    if (!this.incoming.abandon(this.#link.drainBudget)) this.#spend()
  }

  /**
   * The peer accepts our stream with a window of `granted` bytes, and believes that ours is as large: so that much may
   * come, whatever our own size, up to the ceiling. What is within our own size is no surplus, wherever the ceiling is.
   * Returns the part of the peer's belief that the stream cannot stand by.
   */
  recvAccept(granted: number): number {
    const cancelled = this.#state === "Cancelled"
    this.#move("recvAccept")
    this.outgoing.grant(granted)
    const ceiling = Math.max(this.window, this.#link.maxPeerWindow)
    const credit = this.incoming.open(this.window, Math.min(granted, ceiling))
    if (cancelled) this.leave()
    return cancelled ? 0 : granted - credit
  }

  /** `Misplaced`: the stream cannot receive bytes now. */
  recvDat(payload: Uint8Array): "Taken" | "Overrun" | "Misplaced" {
    if (!HalfClose.receives(this.#state)) return "Misplaced"
    const verdict = this.incoming.receive(payload)
    if (verdict !== "BudgetSpent") return verdict
    this.#spend()
    return "Taken"
  }

  /** False when the peer had ended already. */
  recvFin(): boolean {
    if (HalfClose.next(this.#state, "recvClose") === undefined) return false
    this.incoming.end()
    this.#move("recvClose")
    return true
  }

  /** The session is over. */
  fail(cause: TerminalError): void {
    this.incoming.fail(cause)
    this.outgoing.fail(cause)
  }

  snapshot(): StreamSnapshot {
    return {
      id: this.id,
      state: this.#state,
      bufferedBytes: this.incoming.buffered,
      receiveCredit: this.incoming.granted,
      sendCredit: this.outgoing.credit,
      waitingBytes: this.outgoing.waiting
    }
  }

  /** Nothing more of the peer's is wanted. A FIN of ours that waits keeps the stream known, since somebody may wait for it. */
  #spend(): void {
    this.#spent = true
    if (this.outgoing.hasEnded) this.#link.over(this)
  }

  #move(event: HalfClose.Event): void {
    const next = HalfClose.next(this.#state, event)
    if (next === undefined) return
    this.#state = next
    if (next === "Closed") this.#link.over(this)
  }
}
