/** The pings of one end that the peer has not answered, oldest first. */
export class PendingPings {
  readonly #pending: Array<{ readonly number: number; readonly answered: () => void }> = []
  #last = 0

  /** Returns the number of a new ping, from 1 to 2^32-1, which the peer repeats in its answer. */
  add(answered: () => void): number {
    this.#last = this.#last % maxNumber + 1
    if (this.#pending.push({ number: this.#last, answered }) > maxPending) this.#pending.shift()
    return this.#last
  }

  /** The peer answers a ping, and thereby all before it (RFC 6455, 5.5.3). Returns false for an unknown number. */
  answer(number: number): boolean {
    const last = this.#pending.findIndex((ping) => ping.number === number)
    for (const { answered } of this.#pending.splice(0, last + 1)) answered()
    return last >= 0
  }

  /** Forgets all pings. */
  clear(): void {
    this.#pending.length = 0
  }
}

const maxNumber = 2 ** 32 - 1

/** Bounds the memory for a peer that answers no ping. */
const maxPending = 16
