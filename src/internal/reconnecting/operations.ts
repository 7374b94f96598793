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
import { acceptAny } from "../session/acceptAny.js"
import type { Fork } from "../session/callbacks.js"
import type { AnyOpenError } from "../session/openLimiter.js"
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

type AnyOpenFailure<E> = OpenFailure<E> | Exclude<AnyOpenError, OpenError>

/** Whether a session has ended, or takes no more streams. */
const isOver = (error: unknown): error is TerminalError | SessionDraining =>
  isTerminalError(error) || Predicate.isTagged(error, "SessionDraining")

/** The operations of a session, on the current session or the next. */
export const operations = <E>(state: ConnectionState<E>, openTimeout: Duration.Duration) => {
  /** Limits all waits of one operation to the same moment of the monotonic clock. */
  const until = (time: number): Limit<E> => (wait) =>
    Effect.flatMap(currentMonotonicMillis, (now) =>
      Effect.flatten(Effect.timeoutTo(wait, {
        duration: Math.max(time - now, 0),
        onSuccess: Effect.succeed,
        onTimeout: () => new NotConnected<E>({ reason: "Timeout", cause: state.lastCause })
      })))

  const open = (options?: OpenOptions) =>
    Effect.flatMap(currentMonotonicMillis, (now) => {
      const limit = until(now + Duration.toMillis(openTimeout))
      // A session that is over has not opened the stream, or the peer has not taken any of its bytes.
      const attempt = (previous?: Session): Effect.Effect<MuxStream, AnyOpenFailure<E>, Scope.Scope> =>
        Effect.flatMap(state.next(previous, limit), (session) =>
          Effect.catchAll(session.open(options), (error) =>
            isOver(error) ? attempt(session) : Effect.fail(error)))
      return attempt()
    })

  /** Opens without a fiber where there is a session. The fiber waits for the next session, and limits that wait. */
  const unsafeOpen = (fork: Fork, options?: StreamOptions): UnsafeOpen<OpenFailure<E>> => (done) => {
    const session = state.current
    const wait = () => forkOpen<OpenFailure<E>>({ open } as OpenerWithoutId<OpenFailure<E>>, fork, options)(done)
    if (session === undefined) return wait()
    let cancelWaiting: Cancel | undefined
    const cancel = unsafeOpenOf<OpenError>(session as OpenerWithoutId<OpenError>, fork, options)((exit) => {
      if (Exit.isSuccess(exit)) return done(Exit.succeed(exit.value))
      const failure = Cause.failureOption(exit.cause)
      if (Option.isSome(failure) && isOver(failure.value)) cancelWaiting = wait()
      else done(exit as Exit.Exit<never, AcceptTimeout | StreamRefused>)
    })
    return () => (cancelWaiting ?? cancel)()
  }

  /** Runs the handler in each session. Handlers of a lost session end by themselves. */
  const run = <E2, R>(handler: Handler<E2, R>): Effect.Effect<never, NotConnected<E>, Exclude<R, Scope.Scope>> =>
    Effect.scoped(Effect.gen(function*() {
      const runs = yield* FiberSet.make()
      const known = new WeakSet<Session>()
      const start = state.changes.waitUntil(() => {
        const others = state.sessions.filter((session) => !known.has(session))
        for (const session of others) known.add(session)
        if (others.length > 0) {
          return Effect.forEach(others, (session) => FiberSet.run(runs, Effect.ignore(session.run(handler))))
        }
        return state.closed && Effect.fail(state.closed)
      })
      return yield* Effect.forever(start).pipe(Effect.tapError(() => FiberSet.awaitEmpty(runs)))
    }))

  return {
    accept: acceptAny(state),
    current: state.next(undefined, (wait) => wait),
    open: open as Open<OpenFailure<E>>,
    run,
    unsafeOpen
  }
}
