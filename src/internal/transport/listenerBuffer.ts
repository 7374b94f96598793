import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CloseInfo, Listener } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { plainText } from "../text/plainText.js"

/** The events that carry what the peer has sent. */
export type Receiver = Pick<Listener, "onMessage" | "onText">

/**
 * Holds the one listener of a transport. Events before `listen` are buffered up to a limit, and delivered to the
 * listener first. Events after the end are ignored.
 */
export class ListenerBuffer {
  /**
   * Takes the next message: the buffer before `listen`, then the listener itself, and a receiver that ignores all
   * after the end. A transport asks for it at every message, so that a message costs no further call.
   */
  receiver: Receiver
  readonly #limit: number
  readonly #onOverflow: () => void
  #early: Array<(listener: Listener) => void> = []
  #earlyBytes = 0
  #hasListener = false
  /** Set once the listener has received the early events. */
  #listener: Listener | undefined
  #end: CloseInfo | undefined
  /** Made when something waits, since most transports live long before that. */
  #waiters: Notify | undefined

  /** @param onOverflow called when an event comes although more than `limit` bytes are buffered */
  constructor(limit: number, onOverflow: () => void) {
    this.#limit = limit
    this.#onOverflow = onOverflow
    this.receiver = {
      onMessage: (message) => {
        const kept = ownMemory(message)
        this.#keep(kept.byteLength, (listener) => listener.onMessage(kept))
      },
      onText: () => this.#keep(0, (listener) => listener.onText())
    }
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  listen(listener: Listener): void {
    if (this.#hasListener) throw new Error("cannot listen: the transport has a listener already")
    this.#hasListener = true
    // Events that the listener causes while it receives the early ones are buffered behind them.
    while (this.#early.length > 0) this.#early.shift()!(listener)
    this.#early = [] // gives its memory back
    this.#listener = listener
    if (this.#end !== undefined) listener.onClose(this.#end)
    else this.receiver = listener
  }

  writable(): void {
    if (this.#end === undefined) this.#listener?.onWritable()
  }

  /** Delivers the last event; only the first call counts. The reason is text of the peer and may hold any character. */
  close(end: CloseInfo): void {
    if (this.#end !== undefined) return
    this.#end = { ...end, reason: plainText(end.reason) }
    this.receiver = ignoring
    this.#listener?.onClose(this.#end)
    this.#waiters?.notifyAll()
  }

  /** Waits for the last event. */
  get awaitEnd(): Effect.Effect<void> {
    this.#waiters ??= new Notify()
    return this.#waiters.waitUntil(() => this.ended ? Effect.void : undefined)
  }

  /** Starts to close, waits for the end up to `timeout`, and then terminates. Interruption terminates at once. */
  closing(
    start: () => void,
    timeout: Duration.DurationInput,
    terminate: Effect.Effect<void>,
    awaitEnd = this.awaitEnd
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.ended) start()
      return awaitEnd
    }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(timeout),
      Effect.ensuring(terminate),
      Effect.asVoid
    )
  }

  #keep(bytes: number, event: (listener: Listener) => void): void {
    if (this.#earlyBytes > this.#limit) return this.#onOverflow()
    this.#earlyBytes += bytes + eventOverhead
    this.#early.push(event)
  }
}

/** Copies a message that is a part of a larger buffer, such as Node's pool, all of which it would keep alive. */
const ownMemory = (message: Uint8Array): Uint8Array =>
  message.byteLength < message.buffer.byteLength ? new Uint8Array(message) : message

const ignoring: Receiver = { onMessage: () => {}, onText: () => {} }

/** How a connection ends at a message above the limit. This end closes, so there is no code of the peer's. */
export const tooBig: CloseInfo = { code: 1009, reason: "message too big", cause: new RangeError("message too big") }

/** The bytes that an event takes beside its message, so that empty messages are bounded, too. */
const eventOverhead = 256

/** Why a connection ends whose buffer overflows. */
export const noListener = "messages came before a listener was attached"
