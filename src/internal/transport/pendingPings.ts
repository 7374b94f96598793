/** The pings of one end that the peer has not answered, oldest first. */
export class PendingPings {
  readonly #pending: Array<{ readonly payload: string; readonly answered: () => void }> = []
  #last = 0

  /** Returns the payload of a new ping. The payload is empty when no caller waits for the answer. */
  add(answered: (() => void) | undefined): string {
    if (answered === undefined) return ""
    const payload = String(++this.#last)
    if (this.#pending.push({ payload, answered }) > maxPending) this.#pending.shift()
    return payload
  }

  /** Handles a pong. The pong answers the ping whose payload it repeats, and all earlier pings (RFC 6455, 5.5.3). */
  onPong(payload: string): void {
    const last = this.#pending.findIndex((ping) => ping.payload === payload)
    for (const { answered } of this.#pending.splice(0, last + 1)) answered()
  }
}

/** Bounds the memory for a peer that answers no ping. */
const maxPending = 16
