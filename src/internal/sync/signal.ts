import * as Effect from "effect/Effect"

/**
 * Fibers that look again whenever something has changed. For what is mostly awaited by one: it costs half of what a
 * `WaitList` does, and wakes everybody.
 *
 * Woken before waiting: `until` looks first, and again if there was a change between looking and falling asleep, so none
 * is lost. Woken twice: it looks again, which is harmless. Interrupted while asleep: a fiber that sleeps alone leaves a
 * callback behind that does nothing, until the next change; whoever comes meanwhile counts as another. Closed while
 * waiting: the owner makes the condition answer with a failure and notifies.
 */
export class Signal {
  #changes = 0
  /** Sleeps without a finaliser, which is most of what going to sleep costs. */
  #first: (() => void) | undefined
  #others: Set<() => void> | undefined

  /** Runs what `poll` answers as soon as it answers something. `poll` may take what it finds: it runs in the waiting fiber. */
  until<A, E>(poll: () => Effect.Effect<A, E> | undefined): Effect.Effect<A, E> {
    const look: Effect.Effect<A, E> = Effect.suspend(() => {
      const known = this.#changes
      return poll() ?? this.#sleep(known, look)
    })
    return look
  }

  notify(): void {
    this.#changes++
    const first = this.#first
    const others = this.#others
    this.#first = undefined
    this.#others = undefined
    first?.()
    if (others !== undefined) { for (const wake of others) wake() }
  }

  /** Calls back at the next change; answers how to give that up. */
  add(wake: () => void): () => void {
    if (this.#first === undefined) {
      this.#first = wake
      return () => {
        if (this.#first === wake) this.#first = undefined
      }
    }
    const others = this.#others ??= new Set()
    others.add(wake)
    return () => {
      others.delete(wake)
    }
  }

  /** A fiber may yield between looking and registering, so it tells how many changes it knew of when it looked. */
  #sleep<A, E>(known: number, look: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      if (this.#changes !== known) return resume(look)
      const isFirst = this.#first === undefined
      const cancel = this.add(() => resume(look))
      return isFirst ? undefined : Effect.sync(cancel)
    })
  }
}
