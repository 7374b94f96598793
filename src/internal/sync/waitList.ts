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
   * Runs what `poll` answers as soon as it answers something, in the interruptibility of the caller. `poll` may take what
   * it finds: it runs in the waiting fiber. Only the sleep itself is passed to `restore`.
   */
  until<A, E>(poll: () => Effect.Effect<A, E> | undefined, restore?: Restore): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const known = this.#wakeUps
      return poll() ?? Effect.uninterruptibleMask((inherit) => this.#later(known, poll, inherit, restore ?? inherit))
    })
  }

  /** Whether any fiber sleeps that has not been woken. */
  get hasSleepers(): boolean {
    return this.#sleepers !== undefined && this.#sleepers.size > 0
  }

  /** Wakes the one that has slept longest; false when none sleeps. */
  wakeOne(): boolean {
    this.#wakeUps++
    for (const wake of this.#sleepers ?? []) {
      this.#sleepers!.delete(wake)
      wake()
      return true
    }
    return false
  }

  wakeAll(): void {
    this.#wakeUps++
    const sleepers = this.#sleepers
    this.#sleepers = undefined
    if (sleepers !== undefined) { for (const wake of sleepers) wake() }
  }

  /** A fiber may yield, and be interrupted, before any step: so nothing of this is interruptible but the sleep itself. */
  #later<A, E>(
    known: number,
    poll: () => Effect.Effect<A, E> | undefined,
    inherit: Restore,
    restore: Restore
  ): Effect.Effect<A, E> {
    return Effect.flatMap(this.#sleep(known, restore), () => {
      const known = this.#wakeUps
      const answer = poll()
      return answer === undefined ? this.#later(known, poll, inherit, restore) : inherit(answer)
    })
  }

  /** A fiber may yield between asking and registering, so it tells how many wake-ups it knew of when it asked. */
  #sleep(known: number, restore: Restore): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#wakeUps !== known) return Effect.void
      let woken = false
      let resume: (() => void) | undefined
      const wake = () => {
        woken = true
        resume?.()
      }
      this.#sleepers ??= new Set()
      this.#sleepers.add(wake)
      const sleep = Effect.async<void>((done) => {
        resume = () => done(Effect.void)
        if (woken) resume()
      })
      return Effect.onInterrupt(restore(sleep), () =>
        Effect.sync(() => {
          if (this.#sleepers?.delete(wake) !== true) this.wakeOne()
        }))
    })
  }
}

/** Gives an effect back an interruptibility that it had outside. */
type Restore = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
