import type { StreamSnapshot } from "../../SessionSnapshot.js"
import type { TerminalError } from "../../WsmuxError.js"
import { type RecvContext, RecvHalf } from "../recv/recvHalf.js"
import { type SendContext, SendHalf, type SendHalfOwner } from "../send/sendHalf.js"
import * as StreamState from "../wire/streamState.js"

/** The part of a session that a stream uses. */
export interface StreamContext extends RecvContext, SendContext {
  readonly scheduler: RecvContext["scheduler"] & SendContext["scheduler"]
  readonly maxPeerWindow: number
  readonly discardLimit: number
  /** Removes the stream from the session. No later frame belongs to this stream. */
  readonly over: (stream: StreamProtocol) => void
}

/** The receive half and the send half of a stream, and the half-close machine that joins them. */
export class StreamProtocol implements SendHalfOwner {
  readonly id: number
  readonly recvHalf: RecvHalf
  readonly sendHalf: SendHalf
  /** The initial size of the receive window in bytes. */
  readonly window: number
  /** Whether a handler of `run` has the stream. Such a stream counts against `maxStreams` until the handler ends. */
  isServed = false
  readonly #context: StreamContext
  #state: StreamState.State
  /** Whether the stream has discarded up to its limit and no longer waits for the peer's FIN. */
  #spent = false

  /** @param credit the bytes that this end may send before the first ACK */
  constructor(id: number, state: "Opening" | "AwaitingAccept", window: number, credit: number, context: StreamContext) {
    this.id = id
    this.window = window
    this.#context = context
    this.#state = state
    this.recvHalf = new RecvHalf(id, window, context)
    this.sendHalf = new SendHalf(id, credit, context, this)
  }

  get state(): StreamState.State {
    return this.#state
  }

  /** Accepts the peer's stream. The ACK grants the window, so the peer assumes a window of the same size. */
  accept(): void {
    this.#move("sendAccept")
    this.recvHalf.open(this.window, this.window)
  }

  finSent(): void {
    this.#move("sendClose")
    if (this.#spent) this.#context.over(this)
  }

  /** Cancels the open. The caller no longer waits for the peer's answer. */
  cancel(): void {
    this.#move("cancel")
  }

  /** Leaves the stream: ends the send half, and discards what the peer still sends up to `discardLimit`. */
  leave(): void {
    this.sendHalf.abandon()
    if (!this.recvHalf.abandon(this.#context.discardLimit)) this.#spend()
  }

  /**
   * Opens the stream that the peer has accepted with a window of `granted` bytes.
   *
   * A Go acceptor assumes that the opener's window is as large as its own. So this half receives up to `granted` bytes,
   * limited by the larger of `window` and `maxPeerWindow`. Returns the bytes of `granted` beyond this limit.
   */
  recvAccept(granted: number): number {
    const cancelled = this.#state === "Cancelling"
    this.#move("recvAccept")
    this.sendHalf.grant(granted)
    const ceiling = Math.max(this.window, this.#context.maxPeerWindow)
    const credit = this.recvHalf.open(this.window, Math.min(granted, ceiling))
    if (cancelled) this.leave()
    return cancelled ? 0 : granted - credit
  }

  /** Receives the payload of a DAT. Returns `Misplaced` in a state without DAT of the peer. */
  recvDat(payload: Uint8Array): "Taken" | "Overrun" | "Misplaced" {
    if (!StreamState.receives(this.#state)) return "Misplaced"
    const verdict = this.recvHalf.receive(payload)
    if (verdict !== "BudgetSpent") return verdict
    this.#spend()
    return "Taken"
  }

  /** Receives a FIN. Returns false when the peer had already ended. */
  recvFin(): boolean {
    if (StreamState.next(this.#state, "recvClose") === undefined) return false
    this.recvHalf.end()
    this.#move("recvClose")
    return true
  }

  /** Fails both halves, because the session has ended. */
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
   * Stops discarding. The stream stays in the session until its own FIN is sent, because a caller may wait for the FIN.
   */
  #spend(): void {
    this.#spent = true
    if (this.sendHalf.hasEnded) this.#context.over(this)
  }

  #move(event: StreamState.Event): void {
    const next = StreamState.next(this.#state, event)
    if (next === undefined) return
    this.#state = next
    if (next === "Closed") this.#context.over(this)
  }
}
