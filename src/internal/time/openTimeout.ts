import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { CellMap } from "../sync/cellMap.js"
import { Notify } from "../sync/notify.js"
import { monotonicMillis } from "./clock.js"

/** Cancels opens that wait too long for the peer. */
export interface OpenTimeout<A> {
  /** Returns a number for `leave`. */
  readonly watch: (opening: A) => number
  readonly leave: (watched: number) => void
}

/** Forks one fiber for all opens of a session. All may wait equally long, so the oldest open is due first. */
export const makeOpenTimeout = <A>(
  deadline: Duration.Duration,
  expire: (opening: A) => void
): Effect.Effect<OpenTimeout<A>, never, Scope.Scope> =>
  Effect.gen(function*() {
    if (!Duration.isFinite(deadline)) return { watch: () => 0, leave: () => {} }
    const clock = yield* Effect.clock
    const now = () => monotonicMillis(clock)
    const millis = Duration.toMillis(deadline)
    /** The opens, oldest first, and when each is due in milliseconds. */
    const watched = new CellMap<number, { readonly key: number; readonly opening: A; readonly due: number }>()
    let count = 0
    const watchers = new Notify()
    const awaitFirst = watchers.waitUntil(() => {
      const { first } = watched
      return first && Effect.succeed(first)
    })
    yield* Effect.flatMap(awaitFirst, ({ due, key, opening }) => {
      const wait = due - now()
      if (wait > 0) return Effect.sleep(Duration.millis(wait))
      watched.take(key)
      return Effect.sync(() => expire(opening))
    }).pipe(Effect.forever, Effect.interruptible, Effect.forkScoped)
    return {
      watch: (opening) => {
        const key = ++count
        watched.add(key, { key, opening, due: now() + millis })
        watchers.notifyOne()
        return key
      },
      leave: (key) => {
        watched.take(key)
      }
    }
  })
