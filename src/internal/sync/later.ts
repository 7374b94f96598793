import type * as Exit from "effect/Exit"

/** Cancels an operation that has not completed. The operation then never calls its callback. */
export type Cancel = () => void

/** The callback of an operation, which the operation calls once with its exit. */
export type Done<A, E> = (exit: Exit.Exit<A, E>) => void

/**
 * Calls `done` in a microtask. The session wakes waiters in the middle of its work, and `done` may call the session.
 */
export const later = <A extends ReadonlyArray<unknown>>(
  begin: (wake: (...args: A) => void) => Cancel,
  done: (...args: A) => void
): Cancel => {
  let cancelled = false
  const cancel = begin((...args) => inMicrotask(() => cancelled || done(...args)))
  return () => {
    cancelled = true
    cancel()
  }
}

/** Runs a task in a microtask. Cheaper than `queueMicrotask`, which makes an `AsyncResource` for each call. */
export const inMicrotask = (task: () => unknown): void => void resolved.then(task)

const resolved = Promise.resolve()
