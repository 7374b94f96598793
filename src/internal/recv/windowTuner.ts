import type { RttEstimator } from "../time/rtt.js"

/** The parts that the tuner of a session works with. */
export interface Tuning {
  /** The most bytes that one window grows to. */
  readonly maxWindow: number
  /** How many bytes the windows of a session may grow by, all together. */
  readonly budget: number
  readonly rtt: Pick<RttEstimator, "minimum" | "refresh" | "now">
}

/**
 * Finds the receive windows that the network needs. A window that is read within two round trips limits its sender, so
 * it doubles, or grows at once to the largest size that another stream of the session has needed.
 *
 * The tuner takes the minimum RTT. A ping behind a full window takes longer than the network does, and would let
 * windows grow by their own weight. A peer makes windows grow only while its bytes are read, and never beyond the
 * budget.
 */
export class WindowTuner {
  readonly #tuning: Tuning
  #spare: number
  #needed = 0

  constructor(tuning: Tuning) {
    this.#tuning = tuning
    this.#spare = tuning.budget
  }

  now(): number {
    return this.#tuning.rtt.now()
  }

  /** By how many bytes a window grows of which `read` bytes were read within `elapsed` milliseconds. */
  growth(window: number, read: number, elapsed: number): number {
    const { maxWindow, rtt } = this.#tuning
    rtt.refresh()
    if (rtt.minimum === Infinity || window * elapsed > read * 2 * rtt.minimum) return 0
    const size = Math.min(maxWindow, Math.max(window * 2, this.#needed))
    const growth = Math.max(0, Math.min(size - window, this.#spare))
    this.#spare -= growth
    this.#needed = Math.max(this.#needed, window + growth)
    return growth
  }

  /** A stream is over whose window had grown by so many bytes. */
  release(growth: number): void {
    this.#spare += growth
  }
}
