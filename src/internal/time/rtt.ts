/** How an estimator measures. */
export interface RttSource {
  /** Sends a ping behind all that was sent, and calls back when the peer has answered. May throw. */
  readonly ping: (answered: () => void) => void
  /** The monotonic time in milliseconds. */
  readonly now: () => number
}

/**
 * The round-trip times of a session, by pings of any origin: keep-alive, congestion control and window tuning share the
 * samples, so each needs fewer pings of its own.
 *
 * The minimum of the last 10 to 20 s estimates the network without its queues. It covers two lifetimes, the current and
 * the previous, so no list of samples is kept. A longer route is believed when both have passed (as in BBR's filter).
 */
export class RttEstimator {
  readonly #source: RttSource
  #minRtt = Infinity
  #previousMinRtt = Infinity
  #lifetimeEnd = 0
  #latest: number | undefined
  #pings = 0
  /** The number of the newest ping that was answered. An answer counts for all pings before. */
  #answered = 0
  #askedAt = -Infinity
  /** Told of every sample. `isRenewed`: a lifetime of the minimum has ended with it. */
  onSample: ((millis: number, isRenewed: boolean) => void) | undefined

  constructor(source: RttSource) {
    this.#source = source
  }

  /** The monotonic time in milliseconds. */
  now(): number {
    return this.#source.now()
  }

  /** The least sample of the last 10 to 20 s, in milliseconds. Infinity before the first sample. */
  get minimum(): number {
    return Math.min(this.#minRtt, this.#previousMinRtt)
  }

  /** The last sample in milliseconds. */
  get latest(): number | undefined {
    return this.#latest
  }

  /** Pings, and calls back with the round-trip time. Throws where the transport does. */
  ping(answered?: (millis: number) => void): void {
    const at = this.now()
    const ping = ++this.#pings
    this.#askedAt = at
    this.#source.ping(() => {
      this.#answered = Math.max(this.#answered, ping)
      const millis = this.now() - at
      this.record(millis)
      answered?.(millis)
    })
  }

  /** Pings. Ignores a transport that cannot: the keep-alive's next ping fails, too, and ends the session. */
  probe(answered?: (millis: number) => void): void {
    try {
      this.ping(answered)
    } catch {
      // the keep-alive reports it
    }
  }

  /** Asks for a fresh sample, unless a ping is unanswered or was sent less than a second ago. */
  refresh(): void {
    if (this.#answered < this.#pings || this.now() - this.#askedAt < minRefreshInterval) return
    this.probe()
  }

  /** Forgets all samples and unanswered pings: another network carries the session now. */
  reset(): void {
    this.#minRtt = this.#previousMinRtt = Infinity
    this.#lifetimeEnd = 0
    this.#answered = this.#pings
  }

  /** Adds a sample. */
  record(millis: number): void {
    const now = this.now()
    const isRenewed = now >= this.#lifetimeEnd
    if (isRenewed) {
      this.#lifetimeEnd = now + minRttLifetime
      this.#previousMinRtt = this.#minRtt
      this.#minRtt = millis
    } else {
      this.#minRtt = Math.min(this.#minRtt, millis)
    }
    this.#latest = millis
    this.onSample?.(millis, isRenewed)
  }
}

/** For how long a minimum counts alone, in milliseconds, and for how long again beside the next (BBR: 10 s). */
const minRttLifetime = 10_000

/** How often `refresh` pings at most, in milliseconds. */
const minRefreshInterval = 1000
