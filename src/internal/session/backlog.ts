import type { StreamProtocol } from "./streamProtocol.js"

/**
 * The peer's streams that wait to be accepted, oldest first.
 *
 * A stream for which an acceptor has been woken takes no place: a burst of opens that finds acceptors waiting is never
 * refused. A stream that has waited longer than `timeout` is not handed out, because its opener has given up.
 */
export class Backlog {
  /** The streams, and when they came, in milliseconds. */
  readonly #streams = new Map<StreamProtocol, number>()
  readonly #capacity: number
  readonly #timeout: number
  readonly #now: () => number
  /** Acceptors that were woken and have not taken a stream yet. */
  #woken = 0

  /** @param now the time in milliseconds, from any start */
  constructor(capacity: number, timeout: number, now: () => number) {
    this.#capacity = capacity
    this.#timeout = timeout
    this.#now = now
  }

  /** The streams for which no acceptor has been woken. */
  get size(): number {
    return Math.max(0, this.#streams.size - this.#woken)
  }

  get isFull(): boolean {
    return this.size >= this.#capacity
  }

  /** @param wake wakes an acceptor; false when none waits */
  add(stream: StreamProtocol, wake: () => boolean): void {
    this.#streams.set(stream, this.#now())
    if (wake()) this.#woken++
  }

  /** Takes the stream out; false when it does not wait. */
  remove(stream: StreamProtocol): boolean {
    return this.#streams.delete(stream)
  }

  /** Takes the oldest stream. */
  take(): StreamProtocol | undefined {
    this.#woken = Math.max(0, this.#woken - 1)
    for (const stream of this.#streams.keys()) {
      this.#streams.delete(stream)
      return stream
    }
    return undefined
  }

  /** Takes out the streams whose openers have given up. */
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
