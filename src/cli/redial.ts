import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Random from "effect/Random"

/** The ceiling of the first wait; each further wait has twice as much. */
const firstCeiling = 500

/** A session that ends sooner counts as one more failure: some servers let every client in, and then hang up. */
const provenMillis = 30_000

/** New local connections bring forward no more than one attempt in this time. */
const hurriedMillis = 1000

/**
 * When `--reconnect` dials again: after growing waits, which a new local connection cuts short. Stands behind a
 * schedule without waits, since those cannot be cut.
 */
export class Redial {
  readonly #longest: number
  /** Attempts that failed and sessions that ended soon, since the last session that lasted. */
  #failures = 0
  #connectedAt: bigint | undefined
  #attemptAt = 0n
  /** How long the next attempt waits. */
  #delay = 0
  #nudge = makeNudge()

  constructor(longest: Duration.Duration) {
    this.#longest = Duration.toMillis(longest)
  }

  /** Waits until the next attempt is due; the first is due at once. */
  readonly turn: Effect.Effect<void> = Effect.suspend(() => Effect.raceFirst(Effect.sleep(this.#delay), this.#hurried))
    .pipe(
      Effect.zipRight(Clock.currentTimeNanos),
      Effect.map((now) => {
        this.#attemptAt = now
        this.#nudge = makeNudge()
      })
    )

  /** There is a session. */
  readonly connected: Effect.Effect<void> = Effect.map(Clock.currentTimeNanos, (now) => {
    this.#connectedAt = now
  })

  /** A local connection waits: brings the next attempt forward. */
  readonly hurry: Effect.Effect<void> = Effect.suspend(() => Deferred.succeed(this.#nudge, undefined))

  /**
   * An attempt has failed, or a session has ended: sets how long the next attempt waits, and tells the milliseconds.
   */
  readonly lost: Effect.Effect<number> = Effect.map(
    Effect.all([Clock.currentTimeNanos, Random.next]),
    ([now, random]) => {
      const lived = this.#connectedAt === undefined ? 0 : Number(now - this.#connectedAt) / 1e6
      this.#connectedAt = undefined
      this.#failures = lived >= provenMillis ? 1 : this.#failures + 1
      // Full jitter: the clients of a server that was away come back spread over the whole wait.
      this.#delay = random * Math.min(firstCeiling * 2 ** (this.#failures - 1), this.#longest)
      return this.#delay
    }
  )

  /** Ends the wait once a local connection waits, but soon after the last attempt not at once. */
  get #hurried(): Effect.Effect<void> {
    return Effect.flatMap(
      Effect.zipRight(Deferred.await(this.#nudge), Clock.currentTimeNanos),
      (now) => Effect.sleep(Math.max(hurriedMillis - Number(now - this.#attemptAt) / 1e6, 0))
    )
  }
}

const makeNudge = () => Deferred.unsafeMake<void>(FiberId.none)
