import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { MuxStream } from "../MuxStream.js"
import type { Options, ReconnectingSession, State } from "../ReconnectingSession.js"
import * as Session from "../Session.js"
import * as SessionConfig from "../SessionConfig.js"
import { Transport } from "../Transport.js"
import {
  type AcceptTimeout,
  ConnectFailure,
  type InvalidConfiguration,
  isTerminalError,
  NotConnected,
  SessionClosed,
  type StreamRefused,
  type TerminalError,
  WrongParity
} from "../WsmuxError.js"

/** What bounds a wait for a session. */
type Bound<E> = (
  wait: Effect.Effect<Session.Session, NotConnected<E>>
) => Effect.Effect<Session.Session, NotConnected<E>>

/** Keeps one session alive after the other, and lets everybody use whichever there is. */
export const makeReconnecting = <C, E1, R1, E2, R2, E3, R3, R4>(
  options: Options<C, E1, R1, E2, R2, E3, R3, R4>,
  schedule: Schedule.Schedule<unknown, E1 | E2 | E3 | TerminalError, R4>
): Effect.Effect<
  ReconnectingSession<E1 | E2 | E3 | TerminalError>,
  InvalidConfiguration,
  R1 | R2 | R3 | R4 | Scope.Scope
> =>
  Effect.gen(function*() {
    type Failure = E1 | E2 | E3 | TerminalError
    const provided = yield* SessionConfig.SessionConfig
    const settings = yield* SessionConfig.validate(SessionConfig.merge(provided, options.settings ?? {}))
    const openTimeout = Duration.toMillis(options.openTimeout ?? Duration.seconds(30))
    const stableAfter = Duration.toMillis(options.stableAfter ?? Duration.seconds(30))
    const isInVain = options.isHopeless ?? isHopeless
    const state = yield* SubscriptionRef.make<State<Failure>>({ _tag: "Connecting", attempt: 1, cause: undefined })
    const closed = yield* Deferred.make<NotConnected<Failure>>()
    const driver = yield* Schedule.driver(schedule)
    let hasConnected = false

    const attempt = Effect.gen(function*() {
      const credentials = yield* options.credentials ?? Effect.succeed(undefined as C)
      const transport = yield* Effect.provideService(
        Effect.suspend(() => options.transport(credentials)),
        SessionConfig.SessionConfig,
        settings
      )
      const making = options.role === "server" ? Session.makeServer(settings) : Session.makeClient(settings)
      // A transport that lets in too little will never do: a defect, after which there are no more attempts.
      const session = yield* Effect.orDie(Effect.provideService(making, Transport, transport))
      if (options.connected !== undefined) {
        yield* Effect.raceFirst(options.connected(session, credentials), lost(session))
      }
      return session
    })

    /** One session, from the first attempt to its end; or none. Tells why it is over. */
    const life = Effect.gen(function*() {
      const session = yield* attempt
      const since = yield* monotonicMillis
      hasConnected = true
      yield* SubscriptionRef.set(state, { _tag: "Connected", session })
      const cause = yield* session.awaitClosed
      if ((yield* monotonicMillis) - since >= stableAfter) yield* driver.reset
      return cause
    }).pipe(Effect.scoped, Effect.merge)

    const again = (cause: Failure) =>
      Effect.gen(function*() {
        const over = new NotConnected<Failure>({ reason: "GaveUp", cause })
        if (isInVain(cause, hasConnected)) return yield* over
        yield* SubscriptionRef.update(state, (before): State<Failure> => ({
          _tag: "Connecting",
          attempt: before._tag === "Connecting" ? before.attempt + 1 : 1,
          cause
        }))
        yield* Effect.mapError(driver.next(cause), () => over)
        // Behind the schedule's own wait, whose jitter keeps apart those whom the server has told the same.
        yield* Effect.sleep(retryAfterOf(cause))
      })
    const living = yield* Effect.forever(Effect.flatMap(life, again)).pipe(
      Effect.interruptible,
      Effect.onExit((exit) => {
        const cause = whyOver<Failure>(exit)
        return Effect.zipRight(
          SubscriptionRef.set(state, { _tag: "Closed", cause }),
          Deferred.succeed(closed, cause)
        )
      }),
      Effect.forkScoped
    )

    /** A session that is not `past`: at once, which costs next to nothing, or when it comes. */
    const next = (bound: Bound<Failure>) => (past?: Session.Session) =>
      Effect.flatMap(state.get, (now) => {
        if (hasSettled(now, past)) return sessionOf(now)
        return state.changes.pipe(
          Stream.filter((then) => hasSettled(then, past)),
          Stream.runHead,
          Effect.flatMap(Option.match({ onNone: () => Effect.never, onSome: sessionOf })),
          bound
        )
      })
    const outOfTime = Effect.map(state.get, (now) =>
      new NotConnected<Failure>({ reason: "Timeout", cause: now._tag === "Connecting" ? now.cause : undefined }))
    const until = (time: number): Bound<Failure> => (wait) =>
      Effect.flatMap(monotonicMillis, (now) =>
        Effect.timeoutTo(wait, {
          duration: Math.max(time - now, 0),
          onSuccess: Effect.succeed,
          onTimeout: () =>
            Effect.flip(outOfTime)
        })).pipe(Effect.flatten)
    const following = next((wait) => wait)

    const open = (given?: Session.OpenOptions) =>
      Effect.flatMap(monotonicMillis, (now) =>
        onSomeSession(next(until(now + openTimeout)), (session) =>
          session.open(given)))
    const accept = onSomeSession(following, (session) =>
      session.accept)

    const run = <E, R>(handler: (stream: MuxStream) => Effect.Effect<unknown, E, R>) =>
      Effect.scoped(Effect.gen(function*() {
        const runs = yield* FiberSet.make()
        let session: Session.Session | undefined
        const follow = Effect.gen(function*() {
          session = yield* following(session)
          yield* FiberSet.run(runs, Effect.ignore(session.run(handler)))
        })
        return yield* Effect.forever(follow).pipe(Effect.tapError(() => FiberSet.awaitEmpty(runs)))
      }))

    return {
      state,
      current: following(),
      // fails with DuplicateStream for a chosen id only
      open: open as Session.Open<AcceptTimeout | StreamRefused | NotConnected<Failure>>,
      accept,
      accepted: Stream.repeatEffect(accept),
      run,
      close: Effect.zipRight(Fiber.interruptFork(living), Effect.asVoid(Deferred.await(closed))),
      awaitClosed: Deferred.await(closed)
    }
  }).pipe(Effect.uninterruptible)

/** Whether the wait for a session that is not `past` is over, for better or worse. */
const hasSettled = <E>(
  state: State<E>,
  past: Session.Session | undefined
): state is Exclude<State<E>, { _tag: "Connecting" }> =>
  state._tag === "Closed" || (state._tag === "Connected" && state.session !== past)

const sessionOf = <E>(
  state: Exclude<State<E>, { _tag: "Connecting" }>
): Effect.Effect<Session.Session, NotConnected<E>> =>
  state._tag === "Connected" ? Effect.succeed(state.session) : Effect.fail(state.cause)

/** Uses the session there is; when that one turns out to have ended, the next. */
const onSomeSession = <A, E, F, R>(
  next: (past?: Session.Session) => Effect.Effect<Session.Session, NotConnected<F>>,
  use: (session: Session.Session) => Effect.Effect<A, E | TerminalError, R>
): Effect.Effect<A, Exclude<E, TerminalError> | NotConnected<F>, R> => {
  const attempt = (past?: Session.Session): Effect.Effect<A, Exclude<E, TerminalError> | NotConnected<F>, R> =>
    Effect.flatMap(next(past), (session) =>
      Effect.catchAll(
        use(session),
        (error) => isTerminalError(error) ? attempt(session) : Effect.fail(error as Exclude<E, TerminalError>)
      ))
  return attempt()
}

const lost = (session: Session.Session): Effect.Effect<never, TerminalError> =>
  Effect.flatMap(session.awaitClosed, (cause) => Effect.fail(cause))

const whyOver = <E>(exit: Exit.Exit<never, NotConnected<E>>): NotConnected<E> => {
  const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
  if (Cause.isInterruptedOnly(cause)) return new NotConnected({ reason: "Closed" })
  const failure = Cause.failureOption(cause)
  return Option.getOrElse(failure, () => new NotConnected({ reason: "GaveUp", defect: Cause.squash(cause) }))
}

/** By the clock that nobody sets. */
const monotonicMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** The longest wait that a server can ask for: a date that is wrong by years must not end the program's attempts. */
const longestRetryAfter = Duration.hours(1)

const retryAfterOf = (cause: unknown): Duration.Duration =>
  Duration.min(
    Duration.millis(cause instanceof ConnectFailure ? cause.retryAfterMillis ?? 0 : 0),
    longestRetryAfter
  )

export const isHopeless = (cause: unknown, hasConnected: boolean): boolean => {
  if (cause instanceof ConnectFailure) {
    return cause.reason === "InvalidUrl" || (cause.status !== undefined && isRefusal(cause.status, hasConnected))
  }
  if (cause instanceof SessionClosed && cause.by === "peer") {
    return [1003, 1008, 1010].includes(cause.code) ||
      (cause.code >= 4400 && cause.code < 4500 && isRefusal(cause.code - 4000, false))
  }
  return cause instanceof WrongParity
}

/** Whether a server that gave this answer would give it again. */
const isRefusal = (status: number, hasConnected: boolean): boolean =>
  hasConnected ? [401, 403, 407].includes(status) : status < 500 && ![408, 425, 429].includes(status)
