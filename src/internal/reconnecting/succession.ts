import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Session } from "../../Session.js"
import { NotConnected, SessionDraining, type TerminalError } from "../../WsmuxError.js"
import { currentMonotonicMillis } from "../time/clock.js"
import { retryAfterOf } from "./policy.js"
import type { ConnectionState } from "./state.js"

/** The rules of a succession of sessions. */
export interface Rules<E, R, R2> {
  /** Makes one attempt. The scope owns the session. */
  readonly attempt: Effect.Effect<Session, E, R | Scope.Scope>
  readonly driver: Schedule.ScheduleDriver<unknown, E, R2>
  readonly isFinal: (cause: unknown, hasConnected: boolean) => boolean
  /** The milliseconds that a session must live for the schedule to start anew. */
  readonly stableAfter: number
  /** The fibers of the sessions, from their attempts to their ends. */
  readonly lives: FiberSet.FiberSet<boolean>
}

/**
 * Keeps one session after the other connected. Fails when no more attempts are made. Sessions that drain may live on
 * then.
 */
export const succeed = <E, R, R2>(
  { attempt, driver, isFinal, lives, stableAfter }: Rules<E | TerminalError | SessionDraining, R, R2>,
  state: ConnectionState<E | TerminalError | SessionDraining>
): Effect.Effect<never, NotConnected<E | TerminalError | SessionDraining>, R | R2> => {
  type Failure = E | TerminalError | SessionDraining
  let hasConnected = false
  /**
   * Whether the next attempt may follow at once when the peer drains. A session that lives long enough allows that once
   * more, so that a server which sends each new session away is not dialled in a loop.
   */
  let mayHurry = true

  /** The life of a session. Completes `over` with the reason when another session is needed, which may be earlier. */
  const live = (over: Deferred.Deferred<Failure>) =>
    Effect.gen(function*() {
      const session = yield* attempt
      const since = yield* currentMonotonicMillis
      hasConnected = true
      yield* state.connected(session)
      const why = yield* Effect.merge(session.awaitDraining)
      if ((yield* currentMonotonicMillis) - since >= stableAfter) {
        mayHurry = true
        yield* driver.reset
      }
      if (!(why instanceof SessionDraining)) return yield* session.awaitClosed
      yield* state.drains(session, why)
      yield* Deferred.succeed(over, why)
      // From this end, too: the session is closed after its last stream, even where the peer leaves it open.
      yield* Effect.ensuring(session.drain({ grace: Infinity, redial: false }), state.drained(session))
      return why
    }).pipe(Effect.scoped, Effect.merge, Effect.intoDeferred(over))

  /** Makes one attempt. Succeeds with the reason why another session is needed. */
  const connectOnce = Effect.gen(function*() {
    const over = yield* Deferred.make<Failure>()
    yield* FiberSet.run(lives, live(over))
    return yield* Deferred.await(over)
  })

  /** Waits until the next attempt is due. Fails when there is none. */
  const waitForTurn = (cause: Failure) =>
    Effect.gen(function*() {
      const givenUp = new NotConnected<Failure>({ reason: "GaveUp", cause })
      if (isFinal(cause, hasConnected)) return yield* givenUp
      if (!(cause instanceof SessionDraining)) {
        yield* state.connecting(cause)
      } else if (cause.redial && mayHurry) {
        mayHurry = false
        return
      }
      yield* Effect.mapError(driver.next(cause), () => givenUp)
      // The wait of the schedule comes on top: its jitter spreads the clients that were told the same `Retry-After`.
      yield* Effect.sleep(retryAfterOf(cause))
    })

  return Effect.forever(Effect.flatMap(connectOnce, waitForTurn))
}
