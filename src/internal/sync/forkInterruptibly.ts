import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { interruptSoon } from "./unowned.js"

/**
 * The runtime without the state of the fiber that took it. A fiber that was interrupted in an uninterruptible region
 * hands on its interruption, too, and a fiber that is forked with that ends before its first step.
 */
const interruptible = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> => {
  const isInterrupted = Option.isSome(FiberRefs.get(runtime.fiberRefs, FiberRef.interruptedCause))
  return Runtime.enableRuntimeFlag(
    isInterrupted ? Runtime.deleteFiberRef(runtime, FiberRef.interruptedCause) : runtime,
    RuntimeFlags.Interruption
  )
}

/**
 * Forks effects from callbacks. The forked fibers are interruptible, also where the runtime was taken in an
 * uninterruptible region such as an acquisition.
 */
export const forkInterruptibly = (
  runtime: Runtime.Runtime<never>
): <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E> => Runtime.runFork(interruptible(runtime))

/** Forks effects in the same way, with more services. */
export const forkInterruptiblyWith = <R, S>(
  runtime: Runtime.Runtime<R>,
  services: Context.Context<S>
): <A, E>(effect: Effect.Effect<A, E, R | S>) => Fiber.RuntimeFiber<A, E> => {
  const { context, fiberRefs, runtimeFlags } = interruptible(runtime)
  return Runtime.runFork(Runtime.make({ context: Context.merge(context, services), fiberRefs, runtimeFlags }))
}

/**
 * Forks fibers from callbacks in the way of `forkInterruptibly`, and ends them together. A `FiberSet` and a function of
 * its own for each end of a session would take 1 KB more.
 */
export class Forks {
  readonly #runtime: Runtime.Runtime<never>
  #fibers: Set<Fiber.RuntimeFiber<unknown, unknown>> | undefined
  #isOver = false

  constructor(runtime: Runtime.Runtime<never>) {
    this.#runtime = interruptible(runtime)
  }

  fork(effect: Effect.Effect<void>): Fiber.RuntimeFiber<void> {
    return this.add(Runtime.runFork(this.#runtime, effect))
  }

  /** Adds a fiber that was forked elsewhere. */
  add<A, E>(fiber: Fiber.RuntimeFiber<A, E>): Fiber.RuntimeFiber<A, E> {
    const fibers = this.#fibers ??= new Set()
    fibers.add(fiber)
    fiber.addObserver(() => {
      fibers.delete(fiber)
      if (fibers.size === 0 && fibers === this.#fibers && !this.#isOver) this.#fibers = undefined
    })
    if (this.#isOver) interruptSoon(fiber)
    return fiber
  }

  /** Interrupts the fibers, also those that are added meanwhile, and waits for their ends. */
  end(): Effect.Effect<void> {
    this.#isOver = true
    return Fiber.interruptAll(this.#fibers ??= new Set()) // the iteration of a set reaches what is added meanwhile
  }
}
