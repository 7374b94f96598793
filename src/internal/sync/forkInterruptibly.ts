import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"

/**
 * Forks effects from callbacks. The forked fibers are interruptible, also where the runtime was taken in an
 * uninterruptible region such as an acquisition.
 */
export const forkInterruptibly = (
  runtime: Runtime.Runtime<never>
): <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E> =>
  Runtime.runFork(Runtime.enableRuntimeFlag(runtime, RuntimeFlags.Interruption))
