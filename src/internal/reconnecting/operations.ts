import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { Open, OpenOptions, Session } from "../../Session.js"
import {
  type AcceptTimeout,
  isTerminalError,
  NotConnected,
  type OpenError,
  type SessionDraining,
  type StreamRefused,
  type TerminalError
} from "../../WsmuxError.js"
import type { Fork } from "../session/callbacks.js"
import {
  forkOpen,
  type OpenerWithoutId,
  type StreamOptions,
  type UnsafeOpen,
  unsafeOpenOf
} from "../session/sessionCallbacks.js"
import type { Cancel } from "../sync/later.js"
import { currentMonotonicMillis } from "../time/clock.js"
import type { ConnectionState, Limit } from "./state.js"

type Handler<E, R> = (stream: MuxStream) => Effect.Effect<unknown, E, R>

/** An open without an id of the caller's choice cannot fail with `DuplicateStream`. */
type OpenFailure<E> = AcceptTimeout | StreamRefused | NotConnected<E>

/** A session has ended, or takes no more streams. */
type Over = TerminalError | SessionDraining

const isOver = (error: unknown): error is Over => isTerminalError(error) || Predicate.isTagged(error, "SessionDraining")

/** The operations of a session, on the current session or the next. */
export const operations = <E>(state: ConnectionState<E>, openTimeout: Duration.Duration) => {
  const following = (previous?: Session) => state.next(previous, (wait) => wait)

  /** Uses the current session. Uses the next where that session turns out to be over. */
  const onSession = <A, F, R>(
    next: (previous?: Session) => Effect.Effect<Session, NotConnected<E>>,
    use: (session: Session) => Effect.Effect<A, F | Over, R>
  ): Effect.Effect<A, Exclude<F, Over> | NotConnected<E>, R> => {
    const attempt = (previous?: Session): Effect.Effect<A, Exclude<F, Over> | NotConnected<E>, R> =>
      Effect.flatMap(next(previous), (session) =>
        Effect.catchAll(
          use(session),
          (error) => isOver(error) ? attempt(session) : Effect.fail(error as Exclude<F, Over>)
        ))
    return attempt()
  }

  /** Limits all waits of one operation to the same moment of the monotonic clock. */
  const until = (time: number): Limit<E> => (wait) =>
    Effect.flatMap(currentMonotonicMillis, (now) =>
      Effect.flatten(Effect.timeoutTo(wait, {
        duration: Math.max(time - now, 0),
        onSuccess: Effect.succeed,
        onTimeout: () => Effect.flatMap(state.lastCause, (cause) => new NotConnected<E>({ reason: "Timeout", cause }))
      })))

  const open = (options?: OpenOptions) =>
    Effect.flatMap(currentMonotonicMillis, (now) => {
      const limit = until(now + Duration.toMillis(openTimeout))
      return onSession((previous) => state.next(previous, limit), (session) => session.open(options))
    })

  /** Opens without a fiber where there is a session. The fiber waits for the next session, and limits that wait. */
  const unsafeOpen = (fork: Fork, options?: StreamOptions): UnsafeOpen<OpenFailure<E>> => (done) => {
    const session = state.unsafeCurrent
    const waiting = forkOpen<OpenFailure<E>>({ open } as OpenerWithoutId<OpenFailure<E>>, fork, options)
    if (session === undefined) return waiting(done)
    let cancelWaiting: Cancel | undefined
    const cancel = unsafeOpenOf<OpenError>(session as OpenerWithoutId<OpenError>, fork, options)((exit) => {
      if (Exit.isSuccess(exit)) return done(Exit.succeed(exit.value))
      const failure = Cause.failureOption(exit.cause)
      if (Option.isSome(failure) && isOver(failure.value)) cancelWaiting = waiting(done)
      else done(exit as Exit.Exit<never, AcceptTimeout | StreamRefused>)
    })
    return () => (cancelWaiting ?? cancel)()
  }

  const accept = onSession(following, (session) => session.accept)

  /** Runs the handler in one session after the other. Handlers of a lost session end by themselves. */
  const run = <E2, R>(handler: Handler<E2, R>): Effect.Effect<never, NotConnected<E>, Exclude<R, Scope.Scope>> =>
    Effect.scoped(Effect.gen(function*() {
      const runs = yield* FiberSet.make()
      let session: Session | undefined
      const follow = Effect.gen(function*() {
        session = yield* following(session)
        yield* FiberSet.run(runs, Effect.ignore(session.run(handler)))
      })
      return yield* Effect.forever(follow).pipe(Effect.tapError(() => FiberSet.awaitEmpty(runs)))
    }))

  return {
    accept,
    current: following(),
    open: open as Open<OpenFailure<E>>,
    run,
    unsafeOpen
  }
}
