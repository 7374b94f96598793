import type { StreamSnapshot } from "../../SessionSnapshot.js"
import type { TerminalError } from "../../WsmuxError.js"
import { type RecvContext, RecvHalf } from "../recv/recvHalf.js"
import { type SendContext, SendHalf, type SendHalfOwner } from "../send/sendHalf.js"
import { Notify } from "../sync/notify.js"
import type { Metadata } from "../wire/metadata.js"
import * as Record from "../wire/record.js"
import { ResetCode, type ResetInfo } from "../wire/resetCode.js"
import * as StreamState from "../wire/streamState.js"
import type { Dialect } from "./dialect.js"

/** The part of a session that a stream uses. */
export interface StreamContext extends RecvContext, SendContext {
  readonly scheduler: RecvContext["scheduler"] & SendContext["scheduler"]
  readonly dialect: Pick<Dialect, "has">
  readonly maxPeerWindow: number
  readonly discardLimit: number
  /** Removes the stream from the session. No later frame belongs to this stream. */
  readonly over: (stream: StreamProtocol) => void
}

/** How a stream begins. */
export interface Beginning {
  readonly id: number
  readonly state: "Opening" | "AwaitingAccept"
  /** The initial size of the receive window in bytes. */
  readonly window: number
  /** The bytes that this end may send before the first ACK. */
  readonly credit: number
  /** The further credit that the first ACK stands for. Only openers that speak the dialect have any. */
  readonly heldCredit?: number | undefined
  /** The bytes that the peer may send before this end accepts the stream. Undefined for a stream without a record. */
  readonly earlyWindow?: number | undefined
  readonly label: string
  readonly metadata: Metadata
}

/** Why the owner of a stream resets it. */
export interface Cause {
  readonly code: number
  readonly reason: string
}

/** The receive half and the send half of a stream, and the half-close machine that joins them. */
export class StreamProtocol implements SendHalfOwner {
  readonly id: number
  readonly label: string
  readonly metadata: Metadata
  readonly recvHalf: RecvHalf
  readonly sendHalf: SendHalf
  /** The initial size of the receive window in bytes. */
  readonly window: number
  /** Whether a handler of `run` has the stream. Such a stream counts against `maxStreams` until the handler ends. */
  isServed = false
  /** Whether the stream takes one of `maxStreams`. */
  hasPlace = false
  readonly #context: StreamContext
  readonly #heldCredit: number
  readonly #hasEarlyWindow: boolean
  #state: StreamState.State
  /** Whether the stream has discarded up to its limit and no longer waits for the peer's FIN. */
  #spent = false
  /** The code of a STOP that came before the stream was accepted. */
  #stopCode: number | undefined
  /** Those that wait for a reset of the send half by the peer. Made for the first of them. */
  #resetWaiters: Notify | undefined

  constructor(beginning: Beginning, context: StreamContext) {
    const { credit, earlyWindow, heldCredit = 0, id, label, metadata, state, window } = beginning
    this.id = id
    this.label = label
    this.metadata = metadata
    this.window = window
    this.#heldCredit = heldCredit
    this.#hasEarlyWindow = earlyWindow !== undefined
    this.#context = context
    this.#state = state
    this.recvHalf = new RecvHalf(id, window, context)
    this.sendHalf = new SendHalf(id, credit, context, this)
    if (earlyWindow !== undefined) this.recvHalf.openEarly(earlyWindow)
  }

  get state(): StreamState.State {
    return this.#state
  }

  /** Whether the peer understands a reset. */
  get canReset(): boolean {
    return this.#context.dialect.has(Record.Feature.reset)
  }

  /**
   * Accepts the peer's stream, and sends the ACK by `answer`. The ACK grants the window, so the peer assumes a window
   * of the same size.
   */
  accept(answer: (credit: number) => void): void {
    this.#move("sendAccept")
    answer(this.recvHalf.accept(this.window))
    if (this.#stopCode !== undefined) this.recvStop(this.#stopCode)
  }

  finSent(): void {
    this.#move("sendClose")
    if (this.#spent) this.#context.over(this)
  }

  /** Resets the send half: a FIN behind bytes that were left out would tell the peer that the stream is complete. */
  leftOut(): void {
    this.resetSending({ code: ResetCode.Cancelled, reason: "" })
  }

  /** Cancels the open, for whose answer the caller no longer waits. */
  cancel(): void {
    if (this.canReset) this.reset({ code: ResetCode.Cancelled, reason: "" })
    else this.#move("cancel")
  }

  /** Refuses the peer's stream. A peer without the dialect hears a FIN. */
  refuse(cause: Cause): void {
    if (!this.canReset) return this.leave()
    this.recvHalf.stop(undefined)
    this.#resetSendHalf({ by: "local", ...cause })
  }

  /**
   * Leaves the stream after success: ends the send half, and tells the peer that this end reads no more. A peer without
   * the dialect cannot be told, so this end discards what the peer still sends, up to `discardLimit`.
   */
  leave(): void {
    if (this.canReset) {
      // for the reason of `leftOut`
      if (this.sendHalf.waiting > 0) return this.reset({ code: ResetCode.Cancelled, reason: "" })
      this.sendHalf.abandon()
      return this.#stop(ResetCode.NoError, undefined)
    }
    this.sendHalf.abandon()
    if (!this.recvHalf.abandon(this.#context.discardLimit)) this.#spend()
  }

  /** Ends both halves abnormally, as far as they have not ended. Leaves a stream whose peer knows no reset. */
  reset(cause: Cause): void {
    if (!this.canReset) return this.leave()
    const reset = { by: "local", ...cause } as const
    this.#resetSendHalf(reset)
    this.#stop(cause.code, reset)
  }

  /** Ends the send half abnormally, because its input failed. Does nothing where the peer knows no reset. */
  resetSending(cause: Cause): void {
    if (this.canReset) this.#resetSendHalf({ by: "local", ...cause })
  }

  /** Reads no more, and tells the peer. Does nothing where the peer knows no reset. */
  stopReading(cause: Cause): void {
    if (this.canReset) this.#stop(cause.code, { by: "local", ...cause })
  }

  /** Calls back once when the peer gives up what this end sends. Returns how to cancel that. */
  onPeerReset(wake: () => void): () => void {
    return (this.#resetWaiters ??= new Notify()).add(wake)
  }

  /**
   * Opens the stream that the peer has accepted with a window of `granted` bytes.
   *
   * A Go acceptor assumes that the opener's window is as large as its own. So this half receives up to `granted` bytes,
   * limited by the larger of `window` and `maxPeerWindow`. Returns the bytes of `granted` beyond this limit. A peer
   * that speaks the dialect knows the opener's window.
   */
  recvAccept(granted: number): number {
    const cancelled = this.#state === "Cancelling"
    this.#move("recvAccept")
    this.sendHalf.grant(granted + this.#heldCredit)
    const assumed = this.#context.dialect.has(Record.Feature.open) ? this.window : granted
    const ceiling = Math.max(this.window, this.#context.maxPeerWindow)
    const credit = this.recvHalf.open(this.window, Math.min(assumed, ceiling))
    if (cancelled) this.leave()
    return cancelled ? 0 : assumed - credit
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
    // A FIN in place of the ACK refuses the stream, which an early opener may be using.
    if (StreamState.isOpening(this.#state)) return this.recvReset({ code: ResetCode.Refused, reason: "" })
    // A peer that opened the stream by a record cancels by a reset, so its FIN ends its half.
    const isEarly = StreamState.isAwaitingAccept(this.#state) && this.#hasEarlyWindow
    return this.#recvClose(isEarly ? "recvEarlyClose" : "recvClose", () => this.recvHalf.end())
  }

  /** Receives a RESET. Returns false when the peer had already ended. */
  recvReset({ code, reason }: Cause): boolean {
    const reset = { by: "peer", code, reason } as const
    // A reset in place of the ACK refuses the stream, and the peer knows nothing more of it.
    if (StreamState.isOpening(this.#state)) this.sendHalf.reset(reset)
    const isUnread = StreamState.isAwaitingAccept(this.#state)
    const isTaken = this.#recvClose("recvClose", () => this.recvHalf.reset(reset))
    if (isUnread) this.recvHalf.stop(undefined) // no acceptor will read the early bytes
    return isTaken
  }

  /** Receives a STOP: the peer reads no more. A stream that waits to be accepted may still be, for what it has sent. */
  recvStop(code: number): void {
    if (StreamState.isAwaitingAccept(this.#state)) this.#stopCode = code
    else this.#resetSendHalf({ by: "peer", code, reason: "" })
  }

  /** Fails both halves, because the session has ended. */
  fail(cause: TerminalError): void {
    this.recvHalf.fail(cause)
    if (StreamState.isAwaitingAccept(this.#state)) this.recvHalf.stop(undefined) // as in `recvReset`
    this.sendHalf.fail(cause)
  }

  snapshot(): StreamSnapshot {
    return {
      id: this.id,
      label: this.label,
      state: this.#state,
      bufferedBytes: this.recvHalf.buffered,
      receiveCredit: this.recvHalf.granted,
      discarding: this.recvHalf.isDiscarding,
      sendCredit: this.sendHalf.credit,
      waitingBytes: this.sendHalf.waiting
    }
  }

  /** Ends the send half abnormally, and tells the peer, unless the half has ended. */
  #resetSendHalf(reset: ResetInfo): void {
    if (!this.sendHalf.reset(reset)) return
    this.#context.scheduler.sendControl(Record.encodeReset(this.id, reset.code, reset.reason))
    this.#move("sendClose")
    if (reset.by === "peer") this.#resetWaiters?.notifyAll()
  }

  /** Reads no more, and tells the peer, unless the peer has ended. */
  #stop(code: number, reset: ResetInfo | undefined): void {
    if (this.recvHalf.stop(reset)) this.#context.scheduler.sendControl(Record.encodeStop(this.id, code))
  }

  #recvClose(event: "recvClose" | "recvEarlyClose", close: () => void): boolean {
    if (StreamState.next(this.#state, event) === undefined) return false
    close()
    this.#move(event)
    return true
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
