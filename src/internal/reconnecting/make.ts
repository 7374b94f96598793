import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Loss, Options, Service } from "../../ReconnectingSession.js"
import { type InvalidConfiguration, NotConnected } from "../../WsmuxError.js"
import { setUnsafeOpen } from "../session/sessionCallbacks.js"
import { resolve } from "../settings/resolve.js"
import { duration } from "../settings/validate.js"
import { connect } from "./connect.js"
import { operations } from "./operations.js"
import { defaultSchedule, isHopeless } from "./policy.js"
import { ConnectionState } from "./state.js"
import { succeed } from "./succession.js"

/** Keeps one session after the other connected, in the background. */
export const makeReconnecting = <E1, R1, E2, R2, R3>(
  options: Options<E1, R1, E2, R2, R3>
): Effect.Effect<Service<E1 | E2 | Loss>, InvalidConfiguration, R1 | R2 | R3 | Scope.Scope> =>
  Effect.gen(function*() {
    type Failure = E1 | E2 | Loss
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
    const lives = yield* FiberSet.make<boolean>()
    const closeSessions = FiberSet.clear(lives)

    const loop = yield* succeed<E1 | E2, R1 | R2, R3>({ attempt, driver, isFinal, lives, stableAfter }, state).pipe(
      Effect.interruptible,
      // Without further attempts, the sessions that drain go on.
      Effect.onInterrupt(() => closeSessions),
      Effect.onExit((exit) => state.close(reasonOf(exit))),
      Effect.forkScoped
    )
    const closing = Effect.zipRight(Fiber.interrupt(loop), closeSessions)
    const { accept, current, open, run, unsafeOpen } = operations(state, openTimeout)
    const service: Service<Failure> = {
      state: state.ref,
      current,
      open,
      accept,
      accepted: Stream.repeatEffect(accept),
      run,
      close: Effect.flatMap(Effect.forkDaemon(closing), Fiber.join),
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
