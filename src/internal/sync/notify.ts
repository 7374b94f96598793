import * as Effect from "effect/Effect"

/**
 * Fibers that wait until a condition holds. The owner changes its state, then notifies. Notifications carry no value:
 * the condition is asked again in the waiting fiber.
 *
 * Two ways to wait, which may be mixed:
 *
 * - `waitUntil` wakes at every notification. A lone waiter costs half of what a waiter in turn does.
 * - `waitInTurn` wakes first come, first served: `notifyOne` wakes the waiter that has slept longest, and no other.
 *
 * No wake-up is lost:
 *
 * - Notified before the wait: both ask the condition first. A fiber may yield between asking and registering, so it
 *   remembers the number of notifications before it asks, and asks again where the number has changed.
 * - Notified twice: the condition is asked twice, which is harmless.
 * - Interrupted while asleep: the waiter leaves. A lone waiter of `waitUntil` leaves a stale callback behind, which the
 *   next notification drops. The callback takes no wake-up from a live waiter, because `notifyOne` wakes every waiter
 *   of `waitUntil` and a waiter in turn besides.
 * - Interrupted after it was chosen: a waiter in turn passes the wake-up on to the next.
 * - Closed while waiting: the owner makes the condition answer with a failure, and notifies all.
 */
export class Notify {
  #notifications = 0
  /** The waiter that wakes at every notification, if it is the only such waiter. It sleeps without a finaliser. */
  #lone: (() => void) | undefined
  #others: Set<() => void> | undefined
  #inTurn: Set<Waiter> | undefined
  #chosen = 0
  readonly #onPassedBack: (() => void) | undefined

  /** @param onPassedBack a chosen waiter was cancelled, and no other waiter in turn sleeps that could be chosen */
  constructor(onPassedBack?: () => void) {
    this.#onPassedBack = onPassedBack
  }

  /** Whether a waiter in turn sleeps. */
  get hasWaitersInTurn(): boolean {
    return this.#inTurn !== undefined && this.#inTurn.size > 0
  }

  /** The waiters in turn that `notifyOne` has woken and that have not looked yet. */
  get chosen(): number {
    return this.#chosen
  }

  /**
   * Wakes the waiter in turn that has slept longest, and all waiters of `waitUntil`. Returns false when no waiter in
   * turn sleeps.
   */
  notifyOne(): boolean {
    this.#notifications++
    this.#wakeEvery()
    for (const waiter of this.#inTurn ?? []) {
      this.#inTurn!.delete(waiter)
      this.#chosen++
      waiter.state = "Chosen"
      waiter.wake()
      return true
    }
    return false
  }

  /** Wakes every waiter. */
  notifyAll(): void {
    this.#notifications++
    this.#wakeEvery()
    const inTurn = this.#inTurn
    this.#inTurn = undefined
    for (const waiter of inTurn ?? []) {
      waiter.state = "Awake"
      waiter.wake()
    }
  }

  /** Calls back once, at the next notification. Returns a function that cancels the callback. */
  add(wake: () => void): () => void {
    if (this.#lone === undefined) {
      this.#lone = wake
      return () => {
        if (this.#lone === wake) this.#lone = undefined
      }
    }
    const others = this.#others ??= new Set()
    others.add(wake)
    return () => {
      others.delete(wake)
    }
  }

  /**
   * Adds a waiter in turn, and calls back once when it is woken. The waiter must then call `looks` in the step in which
   * it asks the condition, or `cancel`.
   */
  addInTurn(wake: () => void): Waiter {
    const waiter: Waiter = { wake, state: "Asleep" }
    this.#inTurn ??= new Set()
    this.#inTurn.add(waiter)
    return waiter
  }

  /** Ends the turn of a woken waiter, which asks the condition now. */
  looks(waiter: Waiter): void {
    if (waiter.state === "Chosen") this.#chosen--
    waiter.state = "Awake"
  }

  /** Removes a waiter that has not looked. A chosen waiter passes the wake-up on to the next. */
  cancel(waiter: Waiter): void {
    const { state } = waiter
    if (state === "Asleep") this.#inTurn!.delete(waiter)
    this.looks(waiter)
    if (state === "Chosen" && !this.notifyOne()) this.#onPassedBack?.()
  }

  /**
   * Runs the effect that `poll` returns as soon as `poll` returns one. `poll` runs in the waiting fiber, so it may take
   * what it finds.
   */
  waitUntil<A, E, R = never>(poll: () => Effect.Effect<A, E, R> | undefined): Effect.Effect<A, E, R> {
    const look: Effect.Effect<A, E, R> = Effect.suspend(() => {
      const known = this.#notifications
      return poll() ?? this.#sleep(known, look)
    })
    return look
  }

  /**
   * Does the same in turn. The effect of `poll` runs in the interruptibility of the caller. Only the sleep is passed to
   * `restore`.
   */
  waitInTurn<A, E>(poll: () => Effect.Effect<A, E> | undefined, restore?: Restore): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const known = this.#notifications
      return poll() ?? Effect.uninterruptibleMask((inherit) => this.#wait(known, poll, inherit, restore ?? inherit))
    })
  }

  #wakeEvery(): void {
    const lone = this.#lone
    const others = this.#others
    this.#lone = undefined
    this.#others = undefined
    lone?.()
    if (others !== undefined) { for (const wake of others) wake() }
  }

  #sleep<A, E, R>(known: number, look: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.async<A, E, R>((resume) => {
      if (this.#notifications !== known) return resume(look)
      const isLone = this.#lone === undefined
      const cancel = this.add(() => resume(look))
      return isLone ? undefined : Effect.sync(cancel)
    })
  }

  /** A fiber may yield, and be interrupted, before any step: so only the sleep is interruptible. */
  #wait<A, E>(
    known: number,
    poll: () => Effect.Effect<A, E> | undefined,
    inherit: Restore,
    restore: Restore
  ): Effect.Effect<A, E> {
    const look = (): Effect.Effect<A, E> => {
      const known = this.#notifications
      const answer = poll()
      return answer === undefined ? this.#wait(known, poll, inherit, restore) : inherit(answer)
    }
    return Effect.suspend(() => {
      if (this.#notifications !== known) return look()
      let resume: (() => void) | undefined
      const waiter = this.addInTurn(() => resume?.())
      const sleep = Effect.async<void>((done) => {
        resume = () => done(Effect.void)
        if (waiter.state !== "Asleep") resume()
      })
      return Effect.flatMap(
        Effect.onInterrupt(restore(sleep), () => Effect.sync(() => this.cancel(waiter))),
        () => {
          this.looks(waiter)
          return look()
        }
      )
    })
  }
}

/** A waiter in turn: asleep until it is chosen by `notifyOne`, or awake like all at `notifyAll`. */
export interface Waiter {
  readonly wake: () => void
  state: "Asleep" | "Chosen" | "Awake"
}

/** Gives an effect an interruptibility that was in force outside. */
type Restore = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
