import * as Effect from "effect/Effect"
import { TokenBucket } from "../internal/budget/tokenBucket.js"
import { Unanswered } from "./failure.js"

interface Share {
  readonly requests: TokenBucket
  /** The bytes that the name may still pass on; below zero after a large answer. */
  bytes: number
  filledAt: number
}

/** What each name may use in a second. A second's worth may come at once. */
export class Limits {
  readonly #requestsPerSecond: number
  readonly #bytesPerSecond: number
  readonly #now: () => number
  readonly #shares = new Map<string, Share>()

  /** @param now the monotonic time in milliseconds */
  constructor(requestsPerSecond: number, bytesPerSecond: number, now: () => number) {
    this.#requestsPerSecond = requestsPerSecond
    this.#bytesPerSecond = bytesPerSecond
    this.#now = now
  }

  /** Fails for a name that has used up its share. */
  admit(name: string): Effect.Effect<void, Unanswered> {
    return Effect.suspend(() => {
      if (this.#isUnlimited) return Effect.void
      const share = this.#share(name)
      if (share.bytes <= 0) return Effect.fail(tooManyBytes(-share.bytes / this.#bytesPerSecond))
      return this.#requestsPerSecond === Infinity || share.requests.take()
        ? Effect.void
        : Effect.fail(tooManyRequests(1 / this.#requestsPerSecond))
    })
  }

  /** Books the bytes of a request and its answer. */
  spend(name: string, bytes: number): void {
    if (!this.#isUnlimited) this.#share(name).bytes -= bytes
  }

  get #isUnlimited(): boolean {
    return this.#requestsPerSecond === Infinity && this.#bytesPerSecond === Infinity
  }

  #share(name: string): Share {
    const now = this.#now()
    let share = this.#shares.get(name)
    if (share === undefined) {
      if (this.#shares.size >= maxShares) this.#shares.delete(this.#shares.keys().next().value!) // the oldest
      const burst = Math.max(1, this.#requestsPerSecond)
      share = {
        requests: new TokenBucket(burst, this.#requestsPerSecond, this.#now),
        bytes: this.#bytesPerSecond,
        filledAt: now
      }
      this.#shares.set(name, share)
    }
    const refill = this.#bytesPerSecond === Infinity ? Infinity : (now - share.filledAt) * this.#bytesPerSecond / 1000
    share.bytes = Math.min(this.#bytesPerSecond, share.bytes + refill)
    share.filledAt = now
    return share
  }
}

/** Requests for names that never were make shares, too. */
const maxShares = 100_000

const tooMany = (message: string) => (seconds: number): Unanswered =>
  new Unanswered({ status: 429, message, retryAfter: Math.max(1, Math.ceil(seconds)) })

const tooManyRequests = tooMany("the name has too many requests in a second")

const tooManyBytes = tooMany("the name has passed too many bytes")
