import type { StreamProtocol } from "./streamProtocol.js"

/**
 * The peer's streams that wait to be accepted, oldest first.
 *
 * A stream for which an acceptor has been woken does not count. So the session never refuses a burst of opens for which
 * enough acceptors wait. A stream that has waited longer than `timeout` is expired: its opener has timed out.
 */
export class Backlog {
  /** The streams with the time of their arrival in milliseconds. */
  readonly #streams = new Map<StreamProtocol, number>()
  readonly #capacity: number
  readonly #timeout: number
  readonly #now: () => number
  /** Acceptors that were woken and have not taken a stream yet. */
  #woken = 0

  /** @param now the monotonic time in milliseconds */
  constructor(capacity: number, timeout: number, now: () => number) {
    this.#capacity = capacity
    this.#timeout = timeout
    this.#now = now
  }

  /** The number of streams for which no acceptor has been woken. */
  get size(): number {
    return Math.max(0, this.#streams.size - this.#woken)
  }

  get isFull(): boolean {
    return this.size >= this.#capacity
  }

  /** @param wake wakes an acceptor, or returns false when no acceptor waits */
  add(stream: StreamProtocol, wake: () => boolean): void {
    this.#streams.set(stream, this.#now())
    if (wake()) this.#woken++
  }

  /** Removes the stream. Returns false when the stream is not in the backlog. */
  remove(stream: StreamProtocol): boolean {
    return this.#streams.delete(stream)
  }

  /** Removes and returns the oldest stream. */
  take(): StreamProtocol | undefined {
    this.#woken = Math.max(0, this.#woken - 1)
    for (const stream of this.#streams.keys()) {
      this.#streams.delete(stream)
      return stream
    }
    return undefined
  }

  /** Removes and returns the streams whose openers have timed out. */
  takeExpired(): Array<StreamProtocol> {
    const expired: Array<StreamProtocol> = []
    for (const [stream, since] of this.#streams) {
      if (this.#now() - since <= this.#timeout) break
      this.#streams.delete(stream)
      expired.push(stream)
    }
    return expired
  }

  clear(): void {
    this.#streams.clear()
  }
}
