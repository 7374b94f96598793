import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Session } from "../../Session.js"
import type { NotConnected } from "../../WsmuxError.js"

/** The states of `ReconnectingSession.State`, which `make.ts` returns them as. */
export type State<E> =
  | { readonly _tag: "Connecting"; readonly attempt: number; readonly cause: E | undefined }
  | { readonly _tag: "Connected"; readonly session: Session }
  | { readonly _tag: "Closed"; readonly cause: NotConnected<E> }

/** Waits for a session. `limit` is applied to the wait, and costs nothing where there is a session at once. */
export type Limit<E> = (wait: Effect.Effect<Session, NotConnected<E>>) => Effect.Effect<Session, NotConnected<E>>

/**
 * The state of a reconnecting session.
 *
 * ```text
 * Connecting(1) -> Connected -> Connecting(1) -> Connecting(2) -> ... -> Closed
 * ```
 */
export class ConnectionState<E> {
  readonly #closed: Deferred.Deferred<NotConnected<E>>
  readonly ref: SubscriptionRef.SubscriptionRef<State<E>>
  #current: Session | undefined

  private constructor(ref: SubscriptionRef.SubscriptionRef<State<E>>, closed: Deferred.Deferred<NotConnected<E>>) {
    this.ref = ref
    this.#closed = closed
  }

  static make<E>(): Effect.Effect<ConnectionState<E>> {
    return Effect.zipWith(
      SubscriptionRef.make<State<E>>({ _tag: "Connecting", attempt: 1, cause: undefined }),
      Deferred.make<NotConnected<E>>(),
      (ref, closed) => new ConnectionState(ref, closed)
    )
  }

  /** Counts the attempts since the last session. */
  connecting(cause: E): Effect.Effect<void> {
    this.#current = undefined
    return SubscriptionRef.update(this.ref, (before): State<E> => ({
      _tag: "Connecting",
      attempt: before._tag === "Connecting" ? before.attempt + 1 : 1,
      cause
    }))
  }

  connected(session: Session): Effect.Effect<void> {
    this.#current = session
    return SubscriptionRef.set(this.ref, { _tag: "Connected", session })
  }

  close(cause: NotConnected<E>): Effect.Effect<void> {
    this.#current = undefined
    return Effect.zipRight(
      SubscriptionRef.set(this.ref, { _tag: "Closed", cause }),
      Effect.asVoid(Deferred.succeed(this.#closed, cause))
    )
  }

  /** Completes once no more attempts are made. */
  get awaitClosed(): Effect.Effect<NotConnected<E>> {
    return Deferred.await(this.#closed)
  }

  /** The failure of the last attempt, while another is being made. */
  get lastCause(): Effect.Effect<E | undefined> {
    return Effect.map(this.ref.get, (now) => now._tag === "Connecting" ? now.cause : undefined)
  }

  /** The session at this moment, if there is one. */
  get unsafeCurrent(): Session | undefined {
    return this.#current
  }

  /** The first session other than `previous`. Fails once no more attempts are made. */
  next(previous: Session | undefined, limit: Limit<E>): Effect.Effect<Session, NotConnected<E>> {
    return Effect.flatMap(this.ref.get, (now) =>
      isSettled(now, previous) ? sessionOf(now) : this.ref.changes.pipe(
        Stream.filter((then) => isSettled(then, previous)),
        Stream.runHead,
        Effect.flatMap(Option.match({ onNone: () => Effect.never, onSome: sessionOf })),
        limit
      ))
  }
}

type Settled<E> = Exclude<State<E>, { readonly _tag: "Connecting" }>

/** Whether a wait for a session other than `previous` is over. */
const isSettled = <E>(state: State<E>, previous: Session | undefined): state is Settled<E> =>
  state._tag === "Closed" || (state._tag === "Connected" && state.session !== previous)

const sessionOf = <E>(state: Settled<E>): Effect.Effect<Session, NotConnected<E>> =>
  state._tag === "Connected" ? Effect.succeed(state.session) : Effect.fail(state.cause)
