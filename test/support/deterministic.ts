import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { RuntimeFiber } from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import * as Supervisor from "effect/Supervisor"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import type * as TestServices from "effect/TestServices"
import type { Random } from "./random.js"

/** The way in which fibers take turns. */
export interface Order {
  /** Whether any runnable fiber may be next, instead of the fiber that has waited longest. */
  readonly shuffled: boolean
  /** The probability that a fiber loses its turn before a step. A lost turn takes a dozen steps, so 0.1 is too much. */
  readonly preemption: number
  /** The turns after which a program counts as endless. Default 300,000. */
  readonly maxTurns?: number
}

/** The lowest priority: a task with this one runs when no other task can. */
const last = 1_000_000

/** Runs all runnable fibers, without moving the clock. */
export const idle: Effect.Effect<void> = Effect.yieldNow({ priority: last })

/** A scheduler that runs on the stack of the caller and takes the order from its generator alone. */
class SeededScheduler implements Scheduler.Scheduler {
  readonly #ready: Array<Scheduler.Task> = []
  readonly #last: Array<Scheduler.Task> = []

  constructor(readonly order: Order, readonly random: Random) {}

  shouldYield(fiber: RuntimeFiber<unknown, unknown>): number | false {
    const { preemption } = this.order
    return fiber.currentOpCount > maxSteps || (preemption > 0 && this.random.chance(preemption)) ? 0 : false
  }

  scheduleTask(task: Scheduler.Task, priority: number): void {
    const queue = priority === last ? this.#last : this.#ready
    queue.push(task)
  }

  /** Runs until no fiber can run. */
  run(): void {
    const { maxTurns = 300_000 } = this.order
    for (let turns = 0; turns < maxTurns; turns++) {
      const task = this.#next()
      if (task === undefined) return
      task()
    }
    throw new Error(`the program still runs after ${maxTurns} turns`)
  }

  #next(): Scheduler.Task | undefined {
    const ready = this.#ready
    if (ready.length === 0) return this.#last.shift()
    if (!this.order.shuffled) return ready.shift()
    const at = this.random.int(0, ready.length - 1)
    const task = ready[at]!
    ready[at] = ready[ready.length - 1]!
    ready.pop()
    return task
  }
}

/** The steps of a fiber in one turn, as many as under the default scheduler. */
const maxSteps = 2048

/** The times of sleepers that are not interrupted. The clock keeps interrupted sleepers, too. */
export type Timers = () => ReadonlyArray<number>

/**
 * Runs a program on the stack of the caller, under Effect's TestClock. That clock waits in real time until all fibers
 * are suspended. The scheduler of this program knows without waiting.
 */
export const runDeterministically = <A, E>(
  program: (timers: Timers) => Effect.Effect<A, E, TestServices.TestServices>,
  order: Order,
  random: Random
): Exit.Exit<A, E> => {
  const scheduler = new SeededScheduler(order, random)
  const clocked = Effect.flatMap(TestClock.testClock(), (clock) => {
    const sleepers = new Set<{ readonly due: number }>()
    const prompt: TestClock.TestClock = Object.assign(Object.create(clock), {
      awaitSuspended: () => idle,
      // the warning about a clock that stands still holds a semaphore, which a preempted fiber can keep
      warningStart: () => Effect.void,
      warningDone: () => Effect.void,
      sleep: (duration: Duration.DurationInput) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            const sleeper = { due: clock.unsafeCurrentTimeMillis() + Duration.toMillis(duration) }
            sleepers.add(sleeper)
            return sleeper
          }),
          () => clock.sleep.call(prompt, Duration.decode(duration)),
          (sleeper) => Effect.sync(() => sleepers.delete(sleeper))
        )
    })
    const timers = () => Array.from(sleepers, ({ due }) => due)
    return Effect.withClock(program(timers), prompt)
  })
  const fiber = Effect.runFork(Effect.provide(clocked, TestContext.TestContext), { scheduler })
  scheduler.run()
  const exit = fiber.unsafePoll()
  if (exit === null) throw new Error("no fiber can run, and the program has not ended")
  return exit
}

/** Runs a program that must leave no fiber and no timer behind. */
export const leavingNothing = <A, E, R>(timers: Timers, program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Supervisor.track, (supervisor) =>
    Effect.gen(function*() {
      const result = yield* Effect.supervised(program, supervisor)
      yield* idle
      const fibers = yield* supervisor.value
      if (fibers.length > 0) return yield* Effect.dieMessage(`${fibers.length} fibers are left`)
      if (timers().length > 0) return yield* Effect.dieMessage(`${timers().length} timers are left`)
      return result
    }))
