import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Random from "effect/Random"

/** The ceiling of the first wait in milliseconds. Each further ceiling is twice as high. */
export const firstCeiling = 500

/** A session that ends sooner counts as a failure, because some servers accept every client and then hang up. */
const provenMillis = 30_000

/** New local connections bring forward at most one attempt in this time. */
const hurriedMillis = 1000

/**
 * The waits of `--reconnect` between attempts. The waits grow, and a new local connection cuts them short. Nothing
 * can cut the wait of a schedule, so the session reconnects by a schedule without waits.
 */
export class Redial {
  readonly #longest: number
  /** Failed attempts and short sessions since the last long session. */
  #failures = 0
  #connectedAt: bigint | undefined
  #attemptAt = 0n
  /** The milliseconds that the next attempt waits. */
  #delay = 0
  #nudge = makeNudge()

  constructor(longest: Duration.Duration) {
    this.#longest = Duration.toMillis(longest)
  }

  /** Waits until the next attempt is due. The first attempt is due at once. */
  readonly turn: Effect.Effect<void> = Effect.suspend(() => Effect.raceFirst(Effect.sleep(this.#delay), this.#hurried))
    .pipe(
      Effect.zipRight(Clock.currentTimeNanos),
      Effect.map((now) => {
        this.#attemptAt = now
        this.#nudge = makeNudge()
      })
    )

  /** Records that a session has begun. The next attempt is due at once, unless the session is lost. */
  readonly connected: Effect.Effect<void> = Effect.map(Clock.currentTimeNanos, (now) => {
    this.#connectedAt = now
    this.#delay = 0
  })

  /** Brings the next attempt forward, because a local connection waits. */
  hurry(): void {
    Deferred.unsafeDone(this.#nudge, Effect.void)
  }

  /** Records a failed attempt or the end of a session. Completes with the milliseconds that the next attempt waits. */
  readonly lost: Effect.Effect<number> = Effect.map(
    Effect.all([Clock.currentTimeNanos, Random.next]),
    ([now, random]) => {
      const lived = this.#connectedAt === undefined ? 0 : Number(now - this.#connectedAt) / 1e6
      this.#connectedAt = undefined
      this.#failures = lived >= provenMillis ? 1 : this.#failures + 1
      // Full jitter: the clients of a server that restarts come back spread over the whole wait.
      this.#delay = random * Math.min(firstCeiling * 2 ** (this.#failures - 1), this.#longest)
      return this.#delay
    }
  )

  /** Completes when a local connection waits, at the earliest `hurriedMillis` after the last attempt. */
  get #hurried(): Effect.Effect<void> {
    return Effect.flatMap(
      Effect.zipRight(Deferred.await(this.#nudge), Clock.currentTimeNanos),
      (now) => Effect.sleep(Math.max(hurriedMillis - Number(now - this.#attemptAt) / 1e6, 0))
    )
  }
}

const makeNudge = () => Deferred.unsafeMake<void>(FiberId.none)
