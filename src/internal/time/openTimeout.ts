import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Notify } from "../sync/notify.js"
import { monotonicMillis } from "./clock.js"

/** Watches opens that wait for the peer, and gives up those that wait too long. */
export interface OpenTimeout<A> {
  readonly watch: (opening: A) => void
  readonly leave: (opening: A) => void
}

/** One fiber of the scope looks after all opens of a session: all may wait equally long, so the first is due first. */
export const makeOpenTimeout = <A>(
  deadline: Duration.Duration,
  expire: (opening: A) => void
): Effect.Effect<OpenTimeout<A>, never, Scope.Scope> =>
  Effect.gen(function*() {
    if (!Duration.isFinite(deadline)) return { watch: () => {}, leave: () => {} }
    const clock = yield* Effect.clock
    const now = () => monotonicMillis(clock)
    const millis = Duration.toMillis(deadline)
    /** When they are due, in milliseconds, in the order in which they came. */
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
