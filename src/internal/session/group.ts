import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Session } from "../../Session.js"
import type { DrainOptions } from "../../SessionOptions.js"
import { monotonicMillis } from "../time/clock.js"
import { announcementOf } from "./drain.js"
import type { Announcement } from "./draining.js"

/** The first announcement, and the monotonic time in milliseconds when the shortest grace has passed. */
interface Drain {
  readonly announcement: Announcement
  until: number
}

/** The sessions of a server, which drain together. */
export class SessionGroup {
  /** The sessions, each with the scope that owns the session. */
  readonly #sessions = new Map<Session, Scope.Scope>()
  readonly #now: () => number
  #drain: Drain | undefined

  private constructor(now: () => number) {
    this.#now = now
  }

  static readonly make: Effect.Effect<SessionGroup> = Effect.map(
    Effect.clock,
    (clock) => new SessionGroup(() => monotonicMillis(clock))
  )

  /** Whether the group takes no more sessions. A server refuses clients then. */
  get isDraining(): boolean {
    return this.#drain !== undefined
  }

  /** Makes a session that belongs to the group until its scope closes. A session that comes late drains at once. */
  join<E, R>(make: Effect.Effect<Session, E, R>): Effect.Effect<Session, E, R | Scope.Scope> {
    return Effect.uninterruptible(Effect.gen(this, function*() {
      const scope = yield* Effect.scope
      const session = yield* make
      this.#sessions.set(session, scope)
      const leave = Effect.sync(() => this.#sessions.delete(session))
      yield* Scope.addFinalizer(scope, Effect.zipRight(session.close, leave)) // closed when it leaves
      if (this.#drain !== undefined) yield* this.#begin(this.#drain, session, scope)
      return session
    }))
  }

  /** Drains all sessions, once the server takes no more. Completes when all are closed. */
  drain(options: DrainOptions | undefined, stopAccepting: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function*() {
        const announcement = announcementOf(options)
        yield* stopAccepting // first: a client that is told dials at once
        const now = this.#now()
        const until = now + announcement.graceMillis
        if (this.#drain === undefined) this.#drain = { announcement, until }
        else this.#drain.until = Math.min(until, this.#drain.until)
        yield* Effect.logDebug(`the server drains ${this.#sessions.size} sessions`)
        for (const [session, scope] of this.#sessions) yield* this.#begin(this.#drain, session, scope, now)
        yield* restore(this.#awaitClosed(new Set()))
      })
    )
  }

  #begin(
    { announcement, until }: Drain,
    session: Session,
    scope: Scope.Scope,
    now = this.#now()
  ): Effect.Effect<unknown> {
    const { code, reason, redial } = announcement
    const grace = Math.max(0, until - now)
    return Effect.forkIn(Effect.interruptible(session.drain({ code, grace, reason, redial })), scope)
  }

  /** Waits for the end of all sessions, also of those that come meanwhile. */
  #awaitClosed(closed: Set<Session>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const open = [...this.#sessions.keys()].filter((session) => !closed.has(session))
      if (open.length === 0) return Effect.void
      const wait = (session: Session) => Effect.map(session.awaitClosed, () => closed.add(session))
      return Effect.zipRight(
        Effect.forEach(open, wait, { concurrency: "unbounded", discard: true }),
        this.#awaitClosed(closed)
      )
    })
  }
}
