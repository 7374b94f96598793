import { expect } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import type { Options } from "./sessions.js"
import { settle } from "./sessions.js"

/** No keep-alive, for tests in which much time goes by. */
export const quiet = { keepAliveInterval: Duration.infinity }

/** The same for both sides. */
export const quietly = (options: Options = {}): Options => ({
  ...options,
  client: { ...quiet, ...options.client },
  server: { ...quiet, ...options.server }
})

/** Starts an operation and lets it come to where it waits, or to its end. */
export const start = <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.zipLeft(Effect.fork(operation), settle)

/** Fails unless all of these still wait, after everything has run that can. */
export const expectWaiting = (...fibers: ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>>): Effect.Effect<void> =>
  Effect.map(settle, () => expect(fibers.map((fiber) => fiber.unsafePoll())).toEqual(fibers.map(() => null)))

/** What an operation that was started failed with. */
export const failureOf = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<E, A> => Effect.flip(Fiber.join(fiber))

/**
 * Runs a program that can ask how many of the fibers that it started, itself or deep within, are still alive. Whoever has
 * moved a TestClock once is not warned by a fiber of the clock's own that somebody sleeps.
 */
export const countingFibers = <A, E, R>(program: (fibers: Effect.Effect<number>) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(Supervisor.track, (supervisor) => {
    const fibers = Effect.map(Effect.zipRight(settle, supervisor.value), (alive) => alive.length)
    return Effect.zipRight(TestClock.adjust(0), Effect.supervised(program(fibers), supervisor))
  })
