import { expect } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import type { Options } from "./sessions.js"
import { settle } from "./sessions.js"

/** Settings without a keep-alive, for tests in which much time passes. */
export const quiet = { keepAliveInterval: Duration.infinity }

/** The same settings for both ends. */
export const quietly = (options: Options = {}): Options => ({
  ...options,
  client: { ...quiet, ...options.client },
  server: { ...quiet, ...options.server }
})

/** The same for sessions that speak plain wsmux: what adapters do without the dialect stays as it is with Go peers. */
export const plainly = ({ client, server, ...options }: Options = {}): Options =>
  quietly({ ...options, client: { ...client, dialect: "off" }, server: { ...server, dialect: "off" } })

/** Starts an operation, and completes when the operation waits or has ended. */
export const start = <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.zipLeft(Effect.fork(operation), settle)

/** Fails unless each of these fibers waits when no fiber can run. */
export const expectWaiting = (...fibers: ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>>): Effect.Effect<void> =>
  Effect.map(settle, () => expect(fibers.map((fiber) => fiber.unsafePoll())).toEqual(fibers.map(() => null)))

/** Awaits the failure of a started operation. */
export const failureOf = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<E, A> => Effect.flip(Fiber.join(fiber))

/**
 * Runs a program that can ask for the number of its living fibers, those of its callees included. Moving the TestClock
 * once stops the clock's own fiber that warns of sleepers.
 */
export const countingFibers = <A, E, R>(program: (fibers: Effect.Effect<number>) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(Supervisor.track, (supervisor) => {
    const fibers = Effect.map(Effect.zipRight(settle, supervisor.value), (alive) => alive.length)
    return Effect.zipRight(TestClock.adjust(0), Effect.supervised(program(fibers), supervisor))
  })
