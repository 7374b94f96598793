import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"

// Callbacks of sockets, timers and constructors run in no fiber, whose id Effect 3 asks for.

/** A deferred that no fiber makes. */
export const makeDeferred = <A, E = never>(): Deferred.Deferred<A, E> => Deferred.unsafeMake(FiberId.none)

/** Interrupts a fiber, and does not wait for its end. */
export const interruptSoon = (fiber: Fiber.RuntimeFiber<unknown, unknown>): void =>
  fiber.unsafeInterruptAsFork(FiberId.none)

/** The exit of an interruption that no fiber asked for. */
export const interrupted: Exit.Exit<never> = Exit.interrupt(FiberId.none)
