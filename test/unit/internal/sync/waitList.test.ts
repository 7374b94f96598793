import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scheduler from "effect/Scheduler"
import { WaitList } from "../../../../src/internal/sync/waitList.js"
import { settle } from "../../../support/sessions.js"

/** A counter of things to take, and those who wait for one. */
const makePool = () => {
  const list = new WaitList()
  const takers: Array<string> = []
  const asked: Array<string> = []
  let things = 0
  const poll = (name: string) => () => {
    asked.push(name)
    if (things === 0) return undefined
    things--
    takers.push(name)
    return Effect.succeed(name)
  }
  return {
    list,
    takers,
    asked,
    get things() {
      return things
    },
    put: () => {
      things++
      list.wakeOne()
    },
    putAll: (count: number) => {
      things += count
      list.wakeAll()
    },
    take: (name: string) => list.until(poll(name)),
    /** What it has taken cannot be lost: only its sleep is interruptible. */
    takeSafely: (name: string) => Effect.uninterruptibleMask((restore) => list.until(poll(name), restore))
  }
}

const interruptNow = (fiber: Fiber.RuntimeFiber<unknown>) => Effect.sync(() => fiber.unsafeInterruptAsFork(fiber.id()))

const sleeps = (fiber: Fiber.RuntimeFiber<unknown>) => fiber.unsafePoll() === null

describe("a wait list", () => {
  it.effect("lets a fiber through whose condition holds already", () =>
    Effect.gen(function*() {
      const pool = makePool()
      pool.put()
      expect([yield* pool.take("a"), pool.things]).toEqual(["a", 0])
    }))

  it.effect("asks again when it was woken between asking and falling asleep", () =>
    Effect.gen(function*() {
      const list = new WaitList()
      let asked = 0
      const poll = () => ++asked === 3 ? Effect.succeed("answer") : undefined
      // what is done around the sleep comes after the asking
      const answer = yield* list.until(poll, (sleep) =>
        Effect.zipRight(Effect.sync(() => asked === 1 ? list.wakeOne() : list.wakeAll()), sleep))
      expect([answer, asked]).toEqual(["answer", 3])
    }))

  it.effect("wakes the first come first, one at a time", () =>
    Effect.gen(function*() {
      const pool = makePool()
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(pool.take(name)))
      yield* settle
      pool.put()
      yield* settle
      expect([pool.takers, fibers.map(sleeps)]).toEqual([["a"], [false, true, true]])
      pool.put()
      pool.put()
      yield* settle
      expect(pool.takers).toEqual(["a", "b", "c"])
    }))

  it.effect("lets a fiber that was woken in vain sleep on", () =>
    Effect.gen(function*() {
      const pool = makePool()
      const fiber = yield* Effect.fork(pool.take("a"))
      yield* settle
      pool.list.wakeOne()
      pool.list.wakeOne()
      pool.list.wakeAll()
      yield* settle
      expect(sleeps(fiber)).toBe(true)
      pool.put()
      expect(yield* Fiber.join(fiber)).toBe("a")
    }))

  it.effect("disturbs nobody but the first", () =>
    Effect.gen(function*() {
      const pool = makePool()
      const [first] = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(pool.take(name)))
      yield* settle
      pool.list.wakeOne()
      yield* settle
      expect(pool.asked).toEqual(["a", "b", "c", "a"])
      yield* Fiber.interrupt(first!)
      yield* settle
      expect(pool.asked).toEqual(["a", "b", "c", "a"])
    }))

  it.effect("wakes everybody at once, and those who find nothing sleep on", () =>
    Effect.gen(function*() {
      const pool = makePool()
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(pool.take(name)))
      yield* settle
      pool.putAll(2)
      yield* settle
      expect([pool.takers, fibers.map(sleeps)]).toEqual([["a", "b"], [false, false, true]])
      pool.put()
      yield* settle
      expect(pool.takers).toEqual(["a", "b", "c"])
    }))

  it.effect("fails those who wait when the condition answers so", () =>
    Effect.gen(function*() {
      const list = new WaitList()
      let closed = false
      const wait = list.until(() => closed ? Effect.fail("closed") : undefined)
      const fibers = yield* Effect.forEach([1, 2], () => Effect.fork(Effect.flip(wait)))
      yield* settle
      closed = true
      list.wakeAll()
      expect(yield* Fiber.join(Fiber.all(fibers))).toEqual(["closed", "closed"])
    }))

  for (const safely of [false, true]) {
    describe(safely ? "whose sleep alone is interruptible" : "that is interruptible", () => {
      const makePair = Effect.gen(function*() {
        const pool = makePool()
        const take = safely ? pool.takeSafely : pool.take
        const first = yield* Effect.fork(take("first"))
        yield* settle
        const second = yield* Effect.fork(take("second"))
        yield* settle
        return { pool, first, second }
      })

      it.effect("forgets who was interrupted while asleep", () =>
        Effect.gen(function*() {
          const { first, pool, second } = yield* makePair
          yield* Fiber.interrupt(first)
          pool.put()
          expect([yield* Fiber.join(second), pool.takers]).toEqual(["second", ["second"]])
        }))

      it.effect("passes on the wake-up of who was interrupted after being chosen", () =>
        Effect.gen(function*() {
          const { first, pool, second } = yield* makePair
          pool.put()
          yield* interruptNow(first)
          expect([yield* Fiber.join(second), pool.takers]).toEqual(["second", ["second"]])
          expect((yield* Fiber.await(first))._tag).toBe("Failure")
        }))

      it.effect("passes on the wake-up of who was chosen after being interrupted", () =>
        Effect.gen(function*() {
          const { first, pool, second } = yield* makePair
          yield* interruptNow(first)
          pool.put()
          expect([yield* Fiber.join(second), pool.takers]).toEqual(["second", ["second"]])
        }))
    })
  }

  const operation = FastCheck.oneof(
    { weight: 4, arbitrary: FastCheck.constantFrom("take" as const, "takeSafely" as const, "put" as const) },
    { weight: 1, arbitrary: FastCheck.constantFrom("putAll" as const, "yield" as const) },
    { weight: 2, arbitrary: FastCheck.nat(10) }
  )

  it.effect.prop(
    "lets nobody sleep beside what he waits for, whoever is interrupted when",
    [FastCheck.array(operation, { maxLength: 40 })],
    ([operations]) =>
      Effect.gen(function*() {
        const pool = makePool()
        const fibers: Array<Fiber.RuntimeFiber<string>> = []
        let put = 0
        for (const operation of operations) {
          if (typeof operation === "number") {
            const fiber = fibers[operation]
            if (fiber !== undefined) yield* interruptNow(fiber)
          } else if (operation === "yield") {
            yield* Effect.yieldNow()
          } else if (operation === "put") {
            put++
            pool.put()
          } else if (operation === "putAll") {
            put += 2
            pool.putAll(2)
          } else {
            fibers.push(yield* Effect.fork(pool[operation](`${fibers.length}`)))
          }
        }
        yield* settle
        expect(pool.takers.length + pool.things).toBe(put)
        expect(pool.things === 0 || !fibers.some(sleeps)).toBe(true)
      })
  )

  // A fiber that has run for long yields before any step, and may be interrupted there.
  for (const how of ["take", "takeSafely"] as const) {
    it.effect(`wakes the next one at whatever step a waiter is interrupted: ${how}`, () =>
      Effect.gen(function*() {
        for (let at = 0, interrupted = true; interrupted; at++) {
          const pool = makePool()
          let steps = 0
          const scheduler = Scheduler.make(
            (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
            (fiber) => {
              if (steps++ !== at) return false
              fiber.unsafeInterruptAsFork(FiberId.none)
              return 0
            }
          )
          const first = Effect.runFork(pool[how]("first"), { scheduler })
          yield* settle
          const second = yield* Effect.fork(pool[how]("second"))
          yield* settle
          pool.put()
          yield* settle
          expect([at, pool.things]).toEqual([at, 0])
          interrupted = steps > at
          yield* Fiber.interruptAll([first, second])
        }
      }))
  }
})
