import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Options, Service } from "../../ReconnectingSession.js"
import { type InvalidConfiguration, NotConnected, type TerminalError } from "../../WsmuxError.js"
import { setUnsafeOpen } from "../session/sessionCallbacks.js"
import { resolve } from "../settings/resolve.js"
import { duration } from "../settings/validate.js"
import { currentMonotonicMillis } from "../time/clock.js"
import { connect } from "./connect.js"
import { operations } from "./operations.js"
import { defaultSchedule, isHopeless, retryAfterOf } from "./policy.js"
import { ConnectionState } from "./state.js"

/** Keeps one session after the other connected, in the background. */
export const makeReconnecting = <E1, R1, E2, R2, R3>(
  options: Options<E1, R1, E2, R2, R3>
): Effect.Effect<Service<E1 | E2 | TerminalError>, InvalidConfiguration, R1 | R2 | R3 | Scope.Scope> =>
  Effect.gen(function*() {
    type Failure = E1 | E2 | TerminalError
    const settings = yield* resolve(options.settings)
    const attempt = connect({
      transport: options.transport,
      onConnect: options.onConnect,
      role: options.role ?? "client",
      settings
    })
    const stableAfter = Duration.toMillis(yield* duration("stableAfter", options.stableAfter ?? Duration.seconds(30)))
    const openTimeout = yield* duration("openTimeout", options.openTimeout ?? Duration.seconds(30))
    const isFinal = options.isHopeless ?? isHopeless
    const state = yield* ConnectionState.make<Failure>()
    const driver = yield* Schedule.driver<unknown, Failure, R3>(options.schedule ?? defaultSchedule)
    let hasConnected = false

    /**
     * Makes one attempt, and waits for the end of its session. Succeeds with the reason why there is no session now.
     */
    const connectOnce = Effect.gen(function*() {
      const session = yield* attempt
      const since = yield* currentMonotonicMillis
      hasConnected = true
      yield* state.connected(session)
      const cause = yield* session.awaitClosed
      if ((yield* currentMonotonicMillis) - since >= stableAfter) yield* driver.reset
      return cause
    }).pipe(Effect.scoped, Effect.merge)

    /** Waits until the next attempt is due. Fails when there is none. */
    const waitForTurn = (cause: Failure) =>
      Effect.gen(function*() {
        const givenUp = new NotConnected<Failure>({ reason: "GaveUp", cause })
        if (isFinal(cause, hasConnected)) return yield* givenUp
        yield* state.connecting(cause)
        yield* Effect.mapError(driver.next(cause), () => givenUp)
        // The wait of the schedule comes on top: its jitter spreads the clients that were told the same `Retry-After`.
        yield* Effect.sleep(retryAfterOf(cause))
      })

    const loop = yield* Effect.forever(Effect.flatMap(connectOnce, waitForTurn)).pipe(
      Effect.interruptible,
      Effect.onExit((exit) => state.close(reasonOf(exit))),
      Effect.forkScoped
    )
    const { accept, current, open, run, unsafeOpen } = operations(
      state,
      openTimeout
    )
    const service: Service<Failure> = {
      state: state.ref,
      current,
      open,
      accept,
      accepted: Stream.repeatEffect(accept),
      run,
      close: Effect.zipRight(Fiber.interruptFork(loop), Effect.asVoid(state.awaitClosed)),
      awaitClosed: state.awaitClosed
    }
    setUnsafeOpen(service, unsafeOpen)
    return service
  }).pipe(Effect.uninterruptible)

/** Why the loop has ended. */
const reasonOf = <E>(exit: Exit.Exit<never, NotConnected<E>>): NotConnected<E> => {
  const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
  if (Cause.isInterruptedOnly(cause)) return new NotConnected({ reason: "Closed" })
  const failure = Cause.failureOption(cause)
  return Option.getOrElse(failure, () => new NotConnected({ reason: "GaveUp", defect: Cause.squash(cause) }))
}
