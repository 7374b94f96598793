import * as FiberId from "effect/FiberId"
import * as Scheduler from "effect/Scheduler"

/**
 * A scheduler that interrupts the running fiber before a step, and counts the steps. A fiber that has run for long
 * yields before any step, and may be interrupted there.
 */
export const interruptAt = (step: number) => {
  let steps = 0
  const scheduler = Scheduler.make(
    (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
    (fiber) => {
      if (steps++ !== step) return false
      fiber.unsafeInterruptAsFork(FiberId.none)
      return 0
    }
  )
  return { scheduler, hasInterrupted: () => steps > step }
}
