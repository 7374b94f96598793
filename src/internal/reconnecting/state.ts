import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Session } from "../../Session.js"
import type { NotConnected } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"

type Phase<E> =
  | { readonly _tag: "Connecting"; readonly attempt: number; readonly cause: E | undefined }
  | { readonly _tag: "Connected"; readonly session: Session }
  | { readonly _tag: "Closed"; readonly cause: NotConnected<E> }

/** The states of `ReconnectingSession.State`, which `make.ts` returns them as. */
export type State<E> = Phase<E> & { readonly draining: ReadonlyArray<Session> }

/** Waits for a session. `limit` is applied to the wait, and costs nothing where there is a session at once. */
export type Limit<E> = (wait: Effect.Effect<Session, NotConnected<E>>) => Effect.Effect<Session, NotConnected<E>>

/**
 * The state of a reconnecting session.
 *
 * ```text
 * Connecting(1) -> Connected -> Connecting(1) -> Connecting(2) -> ... -> Closed
 * ```
 *
 * A session that drains leaves the line, and is kept beside the line until its end.
 */
export class ConnectionState<E> {
  readonly ref: SubscriptionRef.SubscriptionRef<State<E>>
  /** Notified at every change. */
  readonly changes = new Notify()
  readonly #closed: Deferred.Deferred<NotConnected<E>>
  #phase: Phase<E> = { _tag: "Connecting", attempt: 1, cause: undefined }
  #draining: ReadonlyArray<Session> = []

  private constructor(ref: SubscriptionRef.SubscriptionRef<State<E>>, closed: Deferred.Deferred<NotConnected<E>>) {
    this.ref = ref
    this.#closed = closed
  }

  static make<E>(): Effect.Effect<ConnectionState<E>> {
    return Effect.zipWith(
      SubscriptionRef.make<State<E>>({ _tag: "Connecting", attempt: 1, cause: undefined, draining: [] }),
      Deferred.make<NotConnected<E>>(),
      (ref, closed) => new ConnectionState(ref, closed)
    )
  }

  /** Another attempt follows. Counts the attempts since the last session. */
  connecting(cause: E): Effect.Effect<void> {
    const attempt = this.#phase._tag === "Connecting" ? this.#phase.attempt + 1 : 1
    return this.#change({ _tag: "Connecting", attempt, cause })
  }

  connected(session: Session): Effect.Effect<void> {
    return this.#change({ _tag: "Connected", session })
  }

  /** The current session takes no new streams. */
  drains(session: Session, cause: E): Effect.Effect<void> {
    return this.#change({ _tag: "Connecting", attempt: 1, cause }, [...this.#draining, session])
  }

  /** A session that drained has ended. */
  drained(session: Session): Effect.Effect<void> {
    return Effect.suspend(() => this.#change(this.#phase, this.#draining.filter((other) => other !== session)))
  }

  /** No more attempts are made. */
  close(cause: NotConnected<E>): Effect.Effect<void> {
    return Effect.zipRight(
      this.#change({ _tag: "Closed", cause }),
      Effect.asVoid(Deferred.succeed(this.#closed, cause))
    )
  }

  /** Completes once no more attempts are made. */
  get awaitClosed(): Effect.Effect<NotConnected<E>> {
    return Deferred.await(this.#closed)
  }

  /** Why no more attempts are made. */
  get closed(): NotConnected<E> | undefined {
    return this.#phase._tag === "Closed" ? this.#phase.cause : undefined
  }

  /** The failure of the last attempt, while another is being made. */
  get lastCause(): E | undefined {
    return this.#phase._tag === "Connecting" ? this.#phase.cause : undefined
  }

  /** The session at this moment, if there is one. */
  get current(): Session | undefined {
    return this.#phase._tag === "Connected" ? this.#phase.session : undefined
  }

  /** The sessions that may have streams, oldest first: those that drain, and the current one. */
  get sessions(): ReadonlyArray<Session> {
    return this.current === undefined ? this.#draining : [...this.#draining, this.current]
  }

  /** The first session other than `previous`. Fails once no more attempts are made. */
  next(previous: Session | undefined, limit: Limit<E>): Effect.Effect<Session, NotConnected<E>> {
    const look = () => {
      if (this.closed !== undefined) return Effect.fail(this.closed)
      return this.current === undefined || this.current === previous ? undefined : Effect.succeed(this.current)
    }
    return Effect.suspend(() => look() ?? limit(this.changes.waitUntil(look)))
  }

  /** Changes the state at once, and publishes the latest state. */
  #change(phase: Phase<E>, draining = this.#draining): Effect.Effect<void> {
    this.#phase = phase
    this.#draining = draining
    this.changes.notifyAll()
    return SubscriptionRef.update(this.ref, () => ({ ...this.#phase, draining: this.#draining }))
  }
}
