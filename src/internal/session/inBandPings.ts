import { PendingPings } from "../sync/pendingPings.js"
import { readUint32, writeUint32 } from "../wire/frame.js"
import { encodePing } from "../wire/record.js"

/** Pings by records of the dialect, for transports that cannot ping, such as a browser's WebSocket. */
export class InBandPings {
  readonly #send: (message: Uint8Array) => void
  readonly #pending = new PendingPings()

  constructor(send: (message: Uint8Array) => void) {
    this.#send = send
  }

  /** Sends a ping behind all frames that were sent, and calls back when the peer answers this ping or a later one. */
  readonly ping = (answered: () => void): void => {
    const payload = new Uint8Array(8)
    writeUint32(payload, 0, this.#pending.add(answered))
    this.#send(encodePing(payload))
  }

  /** Forgets the unanswered pings, which were lost with their WebSocket. */
  reset(): void {
    this.#pending.clear()
  }

  /** Handles a PONG. Returns false when no ping waits for it. */
  onPong(payload: Uint8Array): boolean {
    return this.#pending.answer(readUint32(payload, 0))
  }
}
