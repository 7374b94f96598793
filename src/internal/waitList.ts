import * as Effect from "effect/Effect"

/**
 * Fibers that wait until a condition holds, first come first woken.
 *
 * Woken before waiting: `until` asks the condition first, and again if anything was woken between asking and falling
 * asleep, so no wake-up is lost. Woken twice: the condition is asked again, which is harmless. Interrupted while asleep:
 * the waiter leaves; interrupted after it was chosen: the wake-up passes on to the next. Closed while waiting: the owner
 * makes the condition answer with a failure and wakes all.
 */
export class WaitList {
  #sleepers: Set<() => void> | undefined
  #wakeUps = 0

  /**
   * Runs what `poll` answers as soon as it answers something. `poll` may take what it finds: it runs in the waiting fiber,
   * and in the interruptibility of the caller. Only the sleep itself is passed to `restore`.
   */
  until<A, E>(
    poll: () => Effect.Effect<A, E> | undefined,
    restore: <A1, E1>(effect: Effect.Effect<A1, E1>) => Effect.Effect<A1, E1> = identity
  ): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const known = this.#wakeUps
      const answer = poll()
      if (answer !== undefined) return answer
      return Effect.zipRight(restore(this.#sleep(known)), this.until(poll, restore))
    })
  }

  wakeOne(): void {
    this.#wakeUps++
    if (this.#sleepers === undefined) return
    for (const wake of this.#sleepers) {
      this.#sleepers.delete(wake)
      wake()
      return
    }
  }

  wakeAll(): void {
    this.#wakeUps++
    const sleepers = this.#sleepers
    this.#sleepers = undefined
    if (sleepers !== undefined) { for (const wake of sleepers) wake() }
  }

  /** A fiber may yield between asking and registering, so it tells how many wake-ups it knew of when it asked. */
  #sleep(known: number): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (this.#wakeUps !== known) {
        resume(Effect.void)
        return
      }
      const wake = () => resume(Effect.void)
      this.#sleepers ??= new Set()
      this.#sleepers.add(wake)
      return Effect.sync(() => {
        if (this.#sleepers?.delete(wake) !== true) this.wakeOne()
      })
    })
  }
}

const identity = <A>(a: A): A => a
