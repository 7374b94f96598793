import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Session from "../../Session.js"
import type { User } from "../policy/policy.js"
import * as Place from "./place.js"

/** A listener of a client. */
interface Holder {
  readonly user: User
  readonly session: Session.Session
  /** Completes when another session of the user takes the place. */
  readonly asked: Deferred.Deferred<void>
  /** Completes when the listener has given up the place. */
  readonly freed: Deferred.Deferred<void>
}

/**
 * The listeners of all clients of a server. The listener of a client that is away would take connections that no
 * session can serve, and would keep the port from a client that has started anew.
 */
export class Holders {
  readonly #holders = new Map<string, Holder>()

  /** Holds a place while the scope is open. Returns an effect that completes when the listener must give it up. */
  hold(
    place: Place.Place,
    user: User,
    session: Session.Session
  ): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const holder: Holder = {
          user,
          session,
          asked: Deferred.unsafeMake(FiberId.none),
          freed: Deferred.unsafeMake(FiberId.none)
        }
        this.#holders.set(Place.format(place), holder)
        return holder
      }),
      (holder) =>
        Effect.suspend(() => {
          if (this.#holders.get(Place.format(place)) === holder) this.#holders.delete(Place.format(place))
          return Deferred.succeed(holder.freed, undefined)
        })
    ).pipe(Effect.map(({ asked }) => Deferred.await(asked)))
  }

  /** Takes a place from a session of the same user that is suspended. Completes with whether the place is free now. */
  take(place: Place.Place, user: User): Effect.Effect<boolean> {
    return Effect.gen(this, function*() {
      const holder = this.#holders.get(Place.format(place))
      if (holder === undefined || holder.user !== user || !(yield* isSuspended(holder.session))) return false
      yield* Deferred.succeed(holder.asked, undefined)
      yield* Deferred.await(holder.freed)
      return true
    })
  }
}

const isSuspended = (session: Session.Session): Effect.Effect<boolean> =>
  Effect.map(session.snapshot, ({ resumption }) => resumption?.state === "suspended")

/** Completes when the session has been suspended for this long, or at once where its peer had been silent before. */
export const awaitAway = (session: Session.Session, millis: number): Effect.Effect<void> =>
  Effect.zipWith(
    session.snapshot,
    Clock.currentTimeMillis,
    ({ resumption }, now) =>
      resumption?.since !== undefined && (resumption.wasSilent || now - resumption.since >= millis)
  ).pipe(
    Effect.repeat({
      until: (isAway) => isAway,
      schedule: Schedule.spaced(Math.min(1000, millis / 4))
    }),
    Effect.asVoid
  )

/** Completes when the session has a WebSocket. */
export const awaitBack = (session: Session.Session): Effect.Effect<void> =>
  isSuspended(session).pipe(Effect.repeat({ until: (is) => !is, schedule: Schedule.spaced(200) }), Effect.asVoid)
