/** Allows `perSecond` events a second, and up to `burst` events at once after a pause. */
export class TokenBucket {
  readonly #burst: number
  readonly #perSecond: number
  readonly #now: () => number
  #tokens: number
  #filledAt: number | undefined

  /** @param now the monotonic time in milliseconds */
  constructor(burst: number, perSecond: number, now: () => number) {
    this.#burst = burst
    this.#perSecond = perSecond
    this.#now = now
    this.#tokens = burst
  }

  /** Whether a whole burst may come. */
  get isFull(): boolean {
    if (this.#burst === Infinity) return true
    this.#fill()
    return this.#tokens >= this.#burst
  }

  /** Takes one event. Returns false when there were too many. */
  take(): boolean {
    this.#fill()
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  #fill(): void {
    const now = this.#now()
    const millis = now - (this.#filledAt ?? now)
    this.#filledAt = now
    this.#tokens = Math.min(this.#burst, this.#tokens + millis * this.#perSecond / 1000)
  }
}
