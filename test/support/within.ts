import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** How long a test waits for an event of a socket or a process: a machine that is busy with other suites included. */
export const patience: Duration.DurationInput = "30 seconds"

/**
 * Completes as the effect does, or dies with the name of the event when the effect takes longer than the limit. The
 * limit is real time under a `TestClock`, too.
 *
 * For example: stream.read.pipe(within("5 seconds", "the echo of the first chunk"))
 */
export const within =
  (limit: Duration.DurationInput, event: string) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.raceFirst(effect, overdue(limit, event))

const overdue = (limit: Duration.DurationInput, event: string): Effect.Effect<never> =>
  Effect.async<never>((resume) => {
    const message = `waited ${Duration.format(limit)} for ${event}`
    const timer = setTimeout(() => resume(Effect.dieMessage(message)), Duration.toMillis(limit))
    return Effect.sync(() => clearTimeout(timer))
  })
