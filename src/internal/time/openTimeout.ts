import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Notify } from "../sync/notify.js"
import { monotonicMillis } from "./clock.js"

/** Cancels opens that wait too long for the peer. */
export interface OpenTimeout<A> {
  readonly watch: (opening: A) => void
  readonly leave: (opening: A) => void
}

/** Forks one fiber for all opens of a session. All may wait equally long, so the oldest open is due first. */
export const makeOpenTimeout = <A>(
  deadline: Duration.Duration,
  expire: (opening: A) => void
): Effect.Effect<OpenTimeout<A>, never, Scope.Scope> =>
  Effect.gen(function*() {
    if (!Duration.isFinite(deadline)) return { watch: () => {}, leave: () => {} }
    const clock = yield* Effect.clock
    const now = () => monotonicMillis(clock)
    const millis = Duration.toMillis(deadline)
    /** When each open is due, in milliseconds, oldest first. */
    const watched = new Map<A, number>()
    const watchers = new Notify()
    const awaitFirst = watchers.waitUntil(() => {
      for (const first of watched) return Effect.succeed(first)
      return undefined
    })
    yield* Effect.flatMap(awaitFirst, ([opening, due]) => {
      const wait = due - now()
      if (wait > 0) return Effect.sleep(Duration.millis(wait))
      watched.delete(opening)
      return Effect.sync(() => expire(opening))
    }).pipe(Effect.forever, Effect.interruptible, Effect.forkScoped)
    return {
      watch: (opening) => {
        watched.set(opening, now() + millis)
        watchers.notifyOne()
      },
      leave: (opening) => {
        watched.delete(opening)
      }
    }
  })
