/** What the tuner of a session works with. */
export interface Tuning {
  /** The most bytes that one window grows to. */
  readonly maxWindow: number
  /** How many bytes the windows of a session may grow by, all together. */
  readonly budget: number
  /** Asks the peer, and calls back when it has answered. */
  readonly ping: (answered: () => void) => void
  /** The time in milliseconds, from whatever start. */
  readonly now: () => number
}

/**
 * Finds the receive windows that the network needs: a window that is read up within two round trips holds its sender
 * back, so it doubles, or goes at once to what another stream of the session has needed.
 *
 * The round trip is the least of the last pings, since a ping behind a full window takes longer than the network does,
 * and would let windows grow by their own weight. A peer cannot make them grow unless its bytes are read, nor beyond the
 * budget.
 */
export class WindowTuner {
  readonly #tuning: Tuning
  /** The last round trips in milliseconds, newest last. */
  readonly #samples: Array<number> = []
  #spare: number
  #needed = 0
  #asked = -Infinity
  #waiting = false

  constructor(tuning: Tuning) {
    this.#tuning = tuning
    this.#spare = tuning.budget
  }

  /** Measures the round trip, unless that was done lately. */
  measure(): void {
    const now = this.#tuning.now()
    if (this.#waiting || now - this.#asked < interval) return
    this.#asked = now
    this.#waiting = true
    this.#tuning.ping(() => {
      this.#waiting = false
      this.#samples.push(this.#tuning.now() - now)
      if (this.#samples.length > sampleCount) this.#samples.shift()
    })
  }

  now(): number {
    return this.#tuning.now()
  }

  /** By how many bytes a window grows of which so many were read within so many milliseconds. */
  growth(window: number, read: number, elapsed: number): number {
    this.measure()
    if (this.#samples.length === 0 || window * elapsed > read * 2 * Math.min(...this.#samples)) return 0
    const size = Math.min(this.#tuning.maxWindow, Math.max(window * 2, this.#needed))
    const growth = Math.max(0, Math.min(size - window, this.#spare))
    this.#spare -= growth
    this.#needed = Math.max(this.#needed, window + growth)
    return growth
  }

  /** A stream is over, with a window that had grown by so many bytes. */
  release(growth: number): void {
    this.#spare += growth
  }
}

/** How often the round trip is measured at most, in milliseconds. */
const interval = 1000

/** Of how many round trips the least counts: a route that has become longer is believed after as many seconds. */
const sampleCount = 8
