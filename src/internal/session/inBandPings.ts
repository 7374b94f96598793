import { readUint32, writeUint32 } from "../wire/frame.js"
import { encodePing } from "../wire/record.js"

/** Pings by records of the dialect, for transports that cannot ping, such as a browser's WebSocket. */
export class InBandPings {
  readonly #send: (message: Uint8Array) => void
  /** The pings that the peer has not answered, oldest first. */
  readonly #pending: Array<{ readonly number: number; readonly answered: () => void }> = []
  #last = 0

  constructor(send: (message: Uint8Array) => void) {
    this.#send = send
  }

  /** Sends a ping behind all frames that were sent, and calls back when the peer answers this ping or a later one. */
  readonly ping = (answered: () => void): void => {
    this.#last = (this.#last + 1) >>> 0
    if (this.#pending.push({ number: this.#last, answered }) > maxPending) this.#pending.shift()
    const payload = new Uint8Array(8)
    writeUint32(payload, 0, this.#last)
    this.#send(encodePing(payload))
  }

  /** Handles a PONG. Returns false when no ping waits for it. */
  onPong(payload: Uint8Array): boolean {
    const number = readUint32(payload, 0)
    const last = this.#pending.findIndex((ping) => ping.number === number)
    for (const { answered } of this.#pending.splice(0, last + 1)) answered()
    return last >= 0
  }
}

/** Bounds the memory for a peer that answers no ping. */
const maxPending = 16
