import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { InvalidDeadline } from "../../WsmuxError.js"

/**
 * A movable point in time, by the program's `Clock`. A fiber exists only while a deadline is set and not reached. When
 * several fibers set a deadline at once, the last one wins, and the timers of the others end.
 */
export class Deadline {
  readonly #setExpired: (expired: boolean) => void
  #timer: Fiber.RuntimeFiber<void> | undefined
  /** Counts the settings, so that an older timer has no effect. */
  #version = 0

  constructor(setExpired: (expired: boolean) => void) {
    this.#setExpired = setExpired
  }

  /**
   * Sets the deadline `millis` ahead. Infinity clears it. The setting is in force at once. Its timer starts when the
   * effect runs.
   */
  set(millis: number, scope: Scope.Scope): Effect.Effect<void> {
    const stop = this.#stop()
    this.#setExpired(millis === 0)
    return millis === 0 || millis === Infinity ? stop : Effect.zipRight(this.#start(millis, scope), stop)
  }

  /** Stops the timer. */
  get clear(): Effect.Effect<void> {
    return Effect.suspend(() => this.#stop())
  }

  /** Puts the timer out of force at once. Returns its interruption. */
  #stop(): Effect.Effect<void> {
    this.#version++
    const timer = this.#timer
    this.#timer = undefined
    return timer === undefined ? Effect.void : Effect.asVoid(Fiber.interrupt(timer))
  }

  #start(millis: number, scope: Scope.Scope): Effect.Effect<void> {
    const version = this.#version
    return Effect.sync(() => {
      if (version === this.#version) this.#setExpired(true)
    }).pipe(
      Effect.delay(Duration.millis(millis)),
      Effect.interruptible,
      Effect.forkIn(scope),
      Effect.flatMap((timer) => {
        if (version !== this.#version) return Fiber.interrupt(timer)
        this.#timer = timer
        return Effect.void
      })
    )
  }
}

/** Sets, moves or (with undefined) clears all the deadlines, or none of them. The timers end with `scope`. */
export const setDeadlines = (
  deadlines: ReadonlyArray<Deadline>,
  at: number | undefined,
  scope: Scope.Scope
): Effect.Effect<void, InvalidDeadline> =>
  Effect.uninterruptible(Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (at !== undefined && !(at >= now)) return Effect.fail(new InvalidDeadline({ deadline: at, now }))
    const millis = at === undefined ? Infinity : at - now
    return Effect.all(deadlines.map((deadline) => deadline.set(millis, scope)), { discard: true })
  }))
