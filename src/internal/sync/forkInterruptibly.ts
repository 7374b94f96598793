import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"

/**
 * Forks effects from callbacks. The forked fibers are interruptible, also where the runtime was taken in an
 * uninterruptible region such as an acquisition.
 */
export const forkInterruptibly = (
  runtime: Runtime.Runtime<never>
): <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E> =>
  Runtime.runFork(Runtime.enableRuntimeFlag(runtime, RuntimeFlags.Interruption))

/** Forks effects from callbacks, with more services. Only `Effect.interruptible` makes the fibers interruptible. */
export const forkUninterruptibly = <R, S>(
  runtime: Runtime.Runtime<R>,
  services: Context.Context<S>
): <A, E>(effect: Effect.Effect<A, E, R | S>) => Fiber.RuntimeFiber<A, E> => {
  const { context, fiberRefs, runtimeFlags } = Runtime.disableRuntimeFlag(runtime, RuntimeFlags.Interruption)
  return Runtime.runFork(Runtime.make({ context: Context.merge(context, services), fiberRefs, runtimeFlags }))
}

/**
 * Makes a function that forks in the way of `forkInterruptibly`. The scope interrupts the fibers, and each one forked
 * after its end.
 */
export const makeFork: Effect.Effect<
  (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>,
  never,
  Scope.Scope
> = Effect.gen(function*() {
  const fibers = yield* FiberSet.make<void>()
  const fork = forkInterruptibly(yield* Effect.runtime<never>())
  return (effect) => {
    const fiber = fork(effect)
    FiberSet.unsafeAdd(fibers, fiber)
    return fiber
  }
})
