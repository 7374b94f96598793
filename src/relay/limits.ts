import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import { TokenBucket } from "../internal/budget/tokenBucket.js"
import type { Service } from "../RelayDirectory.js"
import { Unanswered } from "./failure.js"
import { sweep } from "./sweep.js"

/** The limits of a name or a token in a second. A second's worth may come at once. */
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
  readonly bytesPerSecond: number
  filledAt: number
  /** The requests that the shared budget granted at last, when it did, and those of them that are left. */
  batch: number
  grantedAt: number
  granted: number
  /** The requests that wait for the shared budgets. */
  waiting: number
  /** Until when the shared budgets of requests and of bytes are known to be empty. */
  requestsEmptyUntil: number
  bytesEmptyUntil: number
  /** All bytes that were booked, those of which the shared budget was told, and those that it confirmed. */
  total: number
  told: number
  confirmed: number
  /** When the last bytes were booked. */
  bookedAt: number
  /** When the shared budget answered at last to what it was told. */
  toldAt: number
  readonly asking: Effect.Semaphore
}

/**
 * Holds each name and each token to its limits: at this node, and with shared budgets at all nodes together. While the
 * shared budgets are away, the limits of this node hold.
 */
export class Limits {
  readonly #now: () => number
  readonly #budgets: Budgets | undefined
  readonly #teller = randomUUID()
  /** The bytes of all keys. New shares begin with it, so that a share that comes back has no lower total. */
  #total = 0
  readonly #shares = new Map<string, Share>()
  /** Forgets shares that are as new ones. A share stays until its debt is paid, however many names are asked for. */
  readonly #sweep = sweep(this.#shares, (share) => this.#isNew(share))
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
      const isEmpty = share.requestsEmptyUntil > now && share.granted === 0
      if (requestsPerSecond !== Infinity && (isEmpty || !share.requests.take())) {
        return Effect.fail(tooManyRequests(1 / requestsPerSecond))
      }
      const budgets = this.#budgets
      if (budgets === undefined || now < this.#askAgainAt) return Effect.void
      if (this.#knowsBytes(share, rates) && this.#useGrant(share, rates)) return Effect.void
      share.waiting++
      // one request of a key at a time, so that those behind it use what the first one was granted
      return share.asking.withPermits(1)(
        Effect.zipRight(
          this.#askForBytes(key, share, rates, budgets),
          this.#askForRequest(key, share, rates, budgets),
          { concurrent: true }
        )
      ).pipe(
        Effect.timeoutTo({ duration: patienceMillis, onSuccess: () => {}, onTimeout: () => this.#pause() }),
        Effect.ensuring(Effect.sync(() => share.waiting--))
      )
    })
  }

  /** Books the bytes of a request and its answer, and tells the shared budget of all bytes that were booked. */
  spend(key: string, rates: Rates, bytes: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.book(key, rates, bytes)
      const share = this.#shares.get(key)
      if (share === undefined || this.#budgets === undefined) return Effect.void
      this.#refill(share)
      return share.told === share.total ? Effect.void : this.#tell(key, share, rates, this.#budgets)
    })
  }

  /** Books bytes at this node. The next question, or the next call of `spend`, tells the shared budget of them. */
  book(key: string, rates: Rates, bytes: number): void {
    if (rates.bytesPerSecond === Infinity || bytes === 0) return
    const share = this.#share(key, rates)
    share.bytes -= bytes
    share.bookedAt = this.#now()
    if (this.#budgets === undefined) return
    share.total += bytes
    this.#total += bytes
  }

  /** Whether the shared budget of bytes was asked a short time ago. */
  #knowsBytes({ toldAt }: Share, { bytesPerSecond }: Rates): boolean {
    return bytesPerSecond === Infinity || this.#now() - toldAt < maxAge
  }

  /** Whether a request needs no grant, or has one that came before. */
  #useGrant(share: Share, { requestsPerSecond }: Rates): boolean {
    if (requestsPerSecond === Infinity) return true
    if (share.granted === 0 || this.#now() - share.grantedAt >= 1000) return false
    share.granted--
    return true
  }

  #askForBytes(key: string, share: Share, rates: Rates, budgets: Budgets): Effect.Effect<void, Unanswered> {
    return Effect.suspend(() => {
      if (this.#knowsBytes(share, rates)) return Effect.void
      return Effect.zipRight(
        this.#tell(key, share, rates, budgets),
        Effect.suspend(() => {
          const rest = share.bytesEmptyUntil - this.#now()
          return rest > 0 ? Effect.fail(tooManyBytes(rest / 1000)) : Effect.void
        })
      )
    })
  }

  /**
   * Tells the shared budget of the bytes that were booked, and hears whether it is empty. Goes on in the background
   * when its caller is interrupted, since the answer counts for later requests, too.
   */
  #tell(key: string, share: Share, { bytesPerSecond }: Rates, { owe }: Budgets): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#now() < this.#askAgainAt) return Effect.void
      const { confirmed, total } = share
      share.told = total
      const debt = { teller: this.#teller, total, units: total - confirmed }
      return Effect.map(this.#timely(owe(`bytes:${key}`, debt, bytesPerSecond)), (left) => {
        if (left === undefined) {
          share.told = Math.min(share.told, share.confirmed) // the budget may have heard all the same
          return
        }
        share.confirmed = Math.max(share.confirmed, total)
        share.toldAt = this.#now()
        if (left <= 0) share.bytesEmptyUntil = this.#now() + 1000 * Math.max(1, -left) / bytesPerSecond
      }).pipe(Effect.uninterruptible, Effect.disconnect)
    })
  }

  #askForRequest(key: string, share: Share, rates: Rates, { take }: Budgets): Effect.Effect<void, Unanswered> {
    return Effect.suspend(() => {
      if (this.#now() < this.#askAgainAt || this.#useGrant(share, rates)) return Effect.void
      const { requestsPerSecond } = rates
      if (share.requestsEmptyUntil > this.#now()) return Effect.fail(tooManyRequests(1 / requestsPerSecond))
      const pace = (share.batch - share.granted) / Math.max(1, this.#now() - share.grantedAt)
      const ahead = Math.floor(Math.min(pace * 1000, requestsPerSecond) / batches)
      const wanted = Math.max(1, share.waiting, ahead)
      return Effect.flatMap(this.#timely(take(`requests:${key}`, wanted, requestsPerSecond)), (granted) => {
        if (granted === undefined) return Effect.void
        share.batch = granted
        share.granted = Math.max(0, granted - 1)
        share.grantedAt = this.#now()
        if (granted < wanted) share.requestsEmptyUntil = this.#now() + Math.min(1000 / requestsPerSecond, maxAge)
        return granted > 0 ? Effect.void : Effect.fail(tooManyRequests(1 / requestsPerSecond))
      })
    })
  }

  /**
   * Completes with nothing where the budgets do not answer in time. The wait is interruptible by itself, since bytes
   * are booked in a finalizer, where a time-out cannot end another wait.
   */
  #timely<A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A | undefined> {
    return Effect.interruptible(effect).pipe(
      Effect.timeout(patienceMillis),
      Effect.catchAll(() => Effect.sync(() => this.#pause()))
    )
  }

  /** The budgets are away: no request asks them for a second. */
  #pause(): undefined {
    this.#askAgainAt = this.#now() + 1000
    return undefined
  }

  #share(key: string, { bytesPerSecond, requestsPerSecond }: Rates): Share {
    const now = this.#now()
    let share = this.#shares.get(key)
    if (share === undefined) {
      const burst = Math.max(1, requestsPerSecond)
      share = {
        requests: new TokenBucket(burst, requestsPerSecond, this.#now),
        bytes: bytesPerSecond,
        bytesPerSecond,
        filledAt: now,
        batch: 0,
        grantedAt: -Infinity,
        granted: 0,
        waiting: 0,
        requestsEmptyUntil: -Infinity,
        bytesEmptyUntil: -Infinity,
        total: this.#total,
        told: this.#total,
        confirmed: this.#total,
        bookedAt: -Infinity,
        toldAt: -Infinity,
        asking: Effect.unsafeMakeSemaphore(1)
      }
      this.#sweep()
      this.#shares.set(key, share)
    }
    this.#refill(share)
    return share
  }

  /**
   * Adds the bytes of the time that has passed. Bytes that this node has paid back count as confirmed, since the shared
   * budget would have them back as well. Those of the last two seconds may still be told.
   */
  #refill(share: Share): void {
    const { bookedAt, bytesPerSecond, filledAt } = share
    if (bytesPerSecond === Infinity) return
    const now = this.#now()
    share.bytes = Math.min(bytesPerSecond, share.bytes + (now - filledAt) * bytesPerSecond / 1000)
    share.filledAt = now
    const recent = now - bookedAt < recentMillis ? 2 * bytesPerSecond : 0
    share.confirmed = Math.max(share.confirmed, share.total - (bytesPerSecond - share.bytes + recent))
    share.told = Math.max(share.told, share.confirmed)
  }

  /** Whether a share has nothing that a new one would not have. */
  #isNew(share: Share): boolean {
    this.#refill(share)
    const now = this.#now()
    const isIdle = share.waiting === 0 && share.confirmed === share.total && now - share.grantedAt >= 1000
    const isEmpty = share.requestsEmptyUntil > now || share.bytesEmptyUntil > now
    return isIdle && !isEmpty && share.requests.isFull && share.bytes === share.bytesPerSecond
  }
}

const isUnlimited = ({ bytesPerSecond, requestsPerSecond }: Rates): boolean =>
  requestsPerSecond === Infinity && bytesPerSecond === Infinity

/**
 * A node takes the requests of a twentieth of a second at once, at the pace of its last ones, so that few requests wait
 * for the directory. A batch by the limit alone would take the requests of other nodes, and use few of them.
 */
const batches = 20

/** How long a request waits for the shared budgets, with its turn. */
const patienceMillis = 250

/** How often the bytes of what runs are booked. */
export const bookingInterval = Duration.seconds(1)

/** How long the bytes of a share may wait to be told in milliseconds: twice `bookingInterval`. */
const recentMillis = 2000

/** How long an answer of the shared budgets counts in milliseconds. */
const maxAge = 250

const tooMany = (message: string) => (seconds: number): Unanswered =>
  new Unanswered({ status: 429, message, retryAfter: Math.max(1, Math.ceil(seconds)) })

const tooManyRequests = tooMany("too many requests in a second")

const tooManyBytes = tooMany("too many bytes in a second")
