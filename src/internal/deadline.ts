import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { InvalidDeadline } from "../WsmuxError.js"

/** One movable point in time, by the program's `Clock`. A fiber exists only while a deadline is set and not reached. */
export class Deadline {
  readonly #setExpired: (expired: boolean) => void
  #timer: Fiber.RuntimeFiber<void> | undefined

  constructor(setExpired: (expired: boolean) => void) {
    this.#setExpired = setExpired
  }

  /** Sets, moves or (with undefined) clears it. The timer lives in `scope`. */
  set(at: number | undefined, scope: Scope.Scope): Effect.Effect<void, InvalidDeadline> {
    return Effect.uninterruptible(Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (at === undefined) {
        return Effect.zipRight(this.clear, Effect.sync(() => this.#setExpired(false)))
      }
      if (!(at >= now)) return Effect.fail(new InvalidDeadline({ deadline: at, now }))
      return Effect.zipRight(this.clear, this.#start(at - now, scope))
    }))
  }

  /** Stops the timer. */
  get clear(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const timer = this.#timer
      this.#timer = undefined
      return timer === undefined ? Effect.void : Fiber.interrupt(timer)
    })
  }

  #start(millis: number, scope: Scope.Scope): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#setExpired(millis === 0)
      if (millis === 0 || millis === Infinity) return Effect.void
      return Effect.sync(() => {
        this.#timer = undefined
        this.#setExpired(true)
      }).pipe(
        Effect.delay(Duration.millis(millis)),
        Effect.interruptible,
        Effect.forkIn(scope),
        Effect.map((timer) => {
          this.#timer = timer
        })
      )
    })
  }
}
