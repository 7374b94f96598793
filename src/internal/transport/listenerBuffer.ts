import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CloseInfo, Listener } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { plainText } from "../text/plainText.js"

/**
 * Where the one listener of a transport sits. What happens before it comes is kept, within a limit, and delivered to it
 * first; nothing is delivered after the end.
 */
export class ListenerBuffer {
  readonly #limit: number
  readonly #overflow: () => void
  readonly #early: Array<(listener: Listener) => void> = []
  #earlyBytes = 0
  #taken = false
  /** Set once it has heard what came before it. */
  #listener: Listener | undefined
  #end: CloseInfo | undefined
  readonly #enders = new Notify()

  /** @param overflow told when something came although more than `limit` bytes wait already */
  constructor(limit: number, overflow: () => void) {
    this.#limit = limit
    this.#overflow = overflow
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  listen(listener: Listener): void {
    if (this.#taken) throw new Error("a transport has one listener, and this one has it already")
    this.#taken = true
    // What a listener brings about while it hears of earlier events queues up behind them.
    while (this.#early.length > 0) this.#early.shift()!(listener)
    this.#listener = listener
    if (this.#end !== undefined) listener.onClose(this.#end)
  }

  message(message: Uint8Array): void {
    if (this.#end !== undefined) return
    if (this.#listener !== undefined) this.#listener.onMessage(message)
    else this.#keep(message.byteLength, (listener) => listener.onMessage(message))
  }

  text(): void {
    if (this.#end !== undefined) return
    if (this.#listener !== undefined) this.#listener.onText()
    else this.#keep(0, (listener) => listener.onText())
  }

  writable(): void {
    if (this.#end === undefined) this.#listener?.onWritable()
  }

  /** The last event; only the first call counts. The reason is the peer's text, which may hold anything. */
  close(end: CloseInfo): void {
    if (this.#end !== undefined) return
    this.#end = { ...end, reason: plainText(end.reason) }
    this.#listener?.onClose(this.#end)
    this.#enders.notifyAll()
  }

  /** Waits for the last event. */
  readonly awaitEnd: Effect.Effect<void> = this.#enders.waitUntil(() => this.ended ? Effect.void : undefined)

  /** Starts to close, waits for the end up to `timeout`, and terminates what has not ended by then, or is interrupted. */
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
    if (this.#earlyBytes > this.#limit) return this.#overflow()
    this.#earlyBytes += bytes + perEvent
    this.#early.push(event)
  }
}

/** How a connection ends at a message that is too large: it is this end that gives it up. */
export const tooBig: CloseInfo = { code: 1009, reason: "message too big", cause: new RangeError("message too big") }

/** What an event costs beside its bytes, so that empty messages have a bound, too. */
const perEvent = 256
