import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"

/** Runs effects for callbacks. A runtime that was taken where nothing may be interrupted, as while acquiring, keeps to that. */
export const forkInterruptibly = (
  runtime: Runtime.Runtime<never>
): <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E> =>
  Runtime.runFork(Runtime.enableRuntimeFlag(runtime, RuntimeFlags.Interruption))
