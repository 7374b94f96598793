import * as Effect from "effect/Effect"
import { TokenBucket } from "../internal/budget/tokenBucket.js"
import type { Service } from "../RelayDirectory.js"
import { Unanswered } from "./failure.js"

/** What a name or a token may use in a second. A second's worth may come at once. */
export interface Rates {
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
}

/** The budgets that all nodes share. */
export type Budgets = Pick<Service, "owe" | "take">

interface Share {
  readonly requests: TokenBucket
  /** The bytes that the name may still pass on; below zero after a large answer. */
  bytes: number
  filledAt: number
  /** Requests that the shared budget has granted to this node, until a time. */
  granted: number
  grantedUntil: number
  /** Until when the shared budgets of requests and of bytes are known to be empty. */
  requestsEmptyUntil: number
  bytesEmptyUntil: number
  /** The bytes that the shared budget has not yet been told of, and when it was told at last. */
  owed: number
  toldAt: number
  readonly asking: Effect.Semaphore
}

/**
 * What each name and each token may use in a second: at this node, and with shared budgets at all nodes together. While
 * the shared budgets are away, the limits of this node hold.
 */
export class Limits {
  readonly #now: () => number
  readonly #budgets: Budgets | undefined
  readonly #shares = new Map<string, Share>()
  #askAgainAt = -Infinity

  /** @param now the monotonic time in milliseconds */
  constructor(now: () => number, budgets?: Budgets) {
    this.#now = now
    this.#budgets = budgets
  }

  /** Fails for a name or a token that has used up its share. */
  admit(key: string, rates: Rates): Effect.Effect<void, Unanswered> {
    return Effect.suspend(() => {
      if (isUnlimited(rates)) return Effect.void
      const { bytesPerSecond, requestsPerSecond } = rates
      const share = this.#share(key, rates)
      const now = this.#now()
      if (share.bytes <= 0) return Effect.fail(tooManyBytes(-share.bytes / bytesPerSecond))
      if (share.bytesEmptyUntil > now) return Effect.fail(tooManyBytes((share.bytesEmptyUntil - now) / 1000))
      if (requestsPerSecond !== Infinity && (share.requestsEmptyUntil > now || !share.requests.take())) {
        return Effect.fail(tooManyRequests(1 / requestsPerSecond))
      }
      const budgets = this.#budgets
      if (budgets === undefined) return Effect.void
      // one request of a key at a time, so that those behind it use what the first one was granted
      return share.asking.withPermits(1)(
        Effect.zipRight(this.#askForBytes(key, share, rates, budgets), this.#askForRequest(key, share, rates, budgets))
      )
    })
  }

  /** Books the bytes of a request and its answer, and tells the shared budget. */
  spend(key: string, rates: Rates, bytes: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (rates.bytesPerSecond === Infinity || bytes === 0) return Effect.void
      const share = this.#share(key, rates)
      share.bytes -= bytes
      share.owed += bytes
      return this.#budgets === undefined ? Effect.void : this.#tell(key, share, rates, this.#budgets)
    })
  }

  #askForBytes(key: string, share: Share, rates: Rates, budgets: Budgets): Effect.Effect<void, Unanswered> {
    return Effect.suspend(() => {
      const { bytesPerSecond } = rates
      if (bytesPerSecond === Infinity || this.#now() - share.toldAt < maxAge) return Effect.void
      return Effect.zipRight(
        this.#tell(key, share, rates, budgets),
        Effect.suspend(() => {
          const rest = share.bytesEmptyUntil - this.#now()
          return rest > 0 ? Effect.fail(tooManyBytes(rest / 1000)) : Effect.void
        })
      )
    })
  }

  /** Tells the shared budget of the bytes that were booked, and hears whether it is empty. */
  #tell(key: string, share: Share, { bytesPerSecond }: Rates, { owe }: Budgets): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#now() < this.#askAgainAt) return Effect.void
      const { owed } = share
      share.owed = 0
      share.toldAt = this.#now()
      return Effect.map(this.#timely(owe(`bytes:${key}`, owed, bytesPerSecond)), (left) => {
        if (left === undefined) share.owed += owed
        else if (left <= 0) share.bytesEmptyUntil = this.#now() + 1000 * Math.max(1, -left) / bytesPerSecond
      })
    })
  }

  #askForRequest(
    key: string,
    share: Share,
    { requestsPerSecond }: Rates,
    { take }: Budgets
  ): Effect.Effect<void, Unanswered> {
    return Effect.suspend(() => {
      if (requestsPerSecond === Infinity || this.#now() < this.#askAgainAt) return Effect.void
      if (share.granted > 0 && this.#now() < share.grantedUntil) {
        share.granted--
        return Effect.void
      }
      const wanted = Math.max(1, Math.floor(requestsPerSecond / batches))
      return Effect.flatMap(this.#timely(take(`requests:${key}`, wanted, requestsPerSecond)), (granted) => {
        if (granted === undefined) return Effect.void
        share.granted = Math.max(0, granted - 1)
        share.grantedUntil = this.#now() + 1000
        if (granted > 0) return Effect.void
        share.requestsEmptyUntil = this.#now() + Math.min(1000 / requestsPerSecond, maxAge)
        return Effect.fail(tooManyRequests(1 / requestsPerSecond))
      })
    })
  }

  /**
   * Completes with nothing where the budgets do not answer in time. Then no request asks them for a second. The wait is
   * interruptible by itself, since bytes are booked in a finalizer, where a time-out cannot end another wait.
   */
  #timely<A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A | undefined> {
    return Effect.interruptible(effect).pipe(
      Effect.timeout(patienceMillis),
      Effect.catchAll(() =>
        Effect.sync(() => {
          this.#askAgainAt = this.#now() + 1000
          return undefined
        })
      )
    )
  }

  #share(key: string, { bytesPerSecond, requestsPerSecond }: Rates): Share {
    const now = this.#now()
    let share = this.#shares.get(key)
    if (share === undefined) {
      if (this.#shares.size >= maxShares) this.#shares.delete(this.#shares.keys().next().value!) // the oldest
      const burst = Math.max(1, requestsPerSecond)
      share = {
        requests: new TokenBucket(burst, requestsPerSecond, this.#now),
        bytes: bytesPerSecond,
        filledAt: now,
        granted: 0,
        grantedUntil: -Infinity,
        requestsEmptyUntil: -Infinity,
        bytesEmptyUntil: -Infinity,
        owed: 0,
        toldAt: -Infinity,
        asking: Effect.unsafeMakeSemaphore(1)
      }
      this.#shares.set(key, share)
    }
    const refill = bytesPerSecond === Infinity ? Infinity : (now - share.filledAt) * bytesPerSecond / 1000
    share.bytes = Math.min(bytesPerSecond, share.bytes + refill)
    share.filledAt = now
    return share
  }
}

const isUnlimited = ({ bytesPerSecond, requestsPerSecond }: Rates): boolean =>
  requestsPerSecond === Infinity && bytesPerSecond === Infinity

/** A node takes the requests of a twentieth of a second at once, so that few requests wait for the directory. */
const batches = 20

/** How long a request waits for the shared budgets. */
const patienceMillis = 250

/** How long an answer of the shared budgets counts in milliseconds. */
const maxAge = 250

/** Requests for names that never were make shares, too. */
const maxShares = 100_000

const tooMany = (message: string) => (seconds: number): Unanswered =>
  new Unanswered({ status: 429, message, retryAfter: Math.max(1, Math.ceil(seconds)) })

const tooManyRequests = tooMany("too many requests in a second")

const tooManyBytes = tooMany("too many bytes in a second")
