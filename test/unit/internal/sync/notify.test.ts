import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import { Notify } from "../../../../src/internal/sync/notify.js"
import { interruptAt } from "../../../support/interruptAt.js"
import { settle } from "../../../support/sessions.js"

const modes = ["waitUntil", "waitInTurn", "waitInTurn with restore"] as const

type Mode = typeof modes[number]

/** A counter of items, the fibers that wait for one, and the names of those that have polled and taken. */
const makePool = () => {
  const notify = new Notify()
  const takers: Array<string> = []
  const polled: Array<string> = []
  let items = 0
  const poll = (name: string) => () => {
    polled.push(name)
    if (items === 0) return undefined
    items--
    takers.push(name)
    return Effect.succeed(name)
  }
  return {
    notify,
    takers,
    polled,
    get items() {
      return items
    },
    put: () => {
      items++
      notify.notifyOne()
    },
    putAll: (count: number) => {
      items += count
      notify.notifyAll()
    },
    take: (mode: Mode, name: string) => {
      switch (mode) {
        case "waitUntil":
          return notify.waitUntil(poll(name))
        case "waitInTurn":
          return notify.waitInTurn(poll(name))
        case "waitInTurn with restore":
          return Effect.uninterruptibleMask((restore) => notify.waitInTurn(poll(name), restore))
      }
    }
  }
}

const interruptNow = (fiber: Fiber.RuntimeFiber<unknown>) => Effect.sync(() => fiber.unsafeInterruptAsFork(fiber.id()))

const sleeps = (fiber: Fiber.RuntimeFiber<unknown>) => fiber.unsafePoll() === null

/** Pools in which "a", "b" and "c" have fallen asleep in this order. */
const makeSleepers = (mode: Mode) =>
  Effect.gen(function*() {
    const pool = makePool()
    const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(pool.take(mode, name)))
    yield* settle
    return { pool, fibers }
  })

describe("Notify", () => {
  describe.each(modes)("%s", (mode) => {
    it.effect(`Notify.${mode} runs the answer without sleeping when the condition holds already`, () =>
      Effect.gen(function*() {
        const pool = makePool()
        pool.put()
        expect([yield* pool.take(mode, "a"), pool.items, pool.polled]).toEqual(["a", 0, ["a"]])
      }))

    it.effect(`Notify.${mode} polls again, and sleeps on, when a notification comes in vain`, () =>
      Effect.gen(function*() {
        const pool = makePool()
        const fiber = yield* Effect.fork(pool.take(mode, "a"))
        yield* settle
        pool.notify.notifyOne()
        pool.notify.notifyOne()
        pool.notify.notifyAll()
        yield* settle
        expect(sleeps(fiber)).toBe(true)
        pool.put()
        expect(yield* Fiber.join(fiber)).toBe("a")
      }))

    it.effect(`Notify.${mode} wakes every waiter at notifyAll, and those that find nothing sleep on`, () =>
      Effect.gen(function*() {
        const { fibers, pool } = yield* makeSleepers(mode)
        pool.putAll(2)
        yield* settle
        expect([pool.takers, fibers.map(sleeps)]).toEqual([["a", "b"], [false, false, true]])
        pool.put()
        yield* settle
        expect(pool.takers).toEqual(["a", "b", "c"])
      }))

    it.effect(`Notify.${mode} fails every waiter when the condition answers with a failure`, () =>
      Effect.gen(function*() {
        const notify = new Notify()
        let closed = false
        const poll = () => closed ? Effect.fail("closed") : undefined
        const wait = mode === "waitUntil" ? notify.waitUntil(poll) : notify.waitInTurn(poll)
        const fibers = yield* Effect.forEach([1, 2], () => Effect.fork(Effect.flip(wait)))
        yield* settle
        closed = true
        notify.notifyAll()
        yield* settle
        expect(fibers.map(sleeps)).toEqual([false, false])
        expect(yield* Fiber.join(Fiber.all(fibers))).toEqual(["closed", "closed"])
      }))

    it.effect(`Notify.${mode} stays uninterruptible when the caller is`, () =>
      Effect.gen(function*() {
        const pool = makePool()
        const fiber = yield* Effect.fork(Effect.uninterruptible(pool.take(mode, "a")))
        yield* settle
        yield* interruptNow(fiber)
        yield* settle
        expect(sleeps(fiber)).toBe(true)
        pool.put()
        yield* settle
        expect([sleeps(fiber), pool.takers]).toEqual([false, ["a"]])
      }))

    const makePair = Effect.gen(function*() {
      const pool = makePool()
      const first = yield* Effect.fork(pool.take(mode, "first"))
      yield* settle
      const second = yield* Effect.fork(pool.take(mode, "second"))
      yield* settle
      return { pool, first, second }
    })

    it.effect(`Notify.${mode} wakes the second waiter when the first was interrupted while asleep`, () =>
      Effect.gen(function*() {
        const { first, pool, second } = yield* makePair
        yield* Fiber.interrupt(first)
        pool.put()
        yield* settle
        expect([sleeps(second), pool.takers]).toEqual([false, ["second"]])
      }))

    it.effect(`Notify.${mode} wakes the second waiter when the first is interrupted after it was chosen`, () =>
      Effect.gen(function*() {
        const { first, pool, second } = yield* makePair
        pool.put()
        yield* interruptNow(first)
        yield* settle
        expect([sleeps(second), pool.takers]).toEqual([false, ["second"]])
        expect((yield* Fiber.await(first))._tag).toBe("Failure")
      }))

    it.effect(`Notify.${mode} wakes the second waiter when the first is chosen after it was interrupted`, () =>
      Effect.gen(function*() {
        const { first, pool, second } = yield* makePair
        yield* interruptNow(first)
        pool.put()
        yield* settle
        expect([sleeps(second), pool.takers]).toEqual([false, ["second"]])
      }))

    it.effect(`Notify.${mode} loses no wake-up when the first of two waiters is interrupted at any step`, () =>
      Effect.gen(function*() {
        for (let step = 0, isInterrupted = true; isInterrupted; step++) {
          const pool = makePool()
          const { hasInterrupted, scheduler } = interruptAt(step)
          const first = Effect.runFork(pool.take(mode, "first"), { scheduler })
          yield* settle
          const second = yield* Effect.fork(pool.take(mode, "second"))
          yield* settle
          pool.put()
          yield* settle
          expect([step, pool.items, pool.notify.chosen]).toEqual([step, 0, 0])
          isInterrupted = hasInterrupted()
          yield* Fiber.interruptAll([first, second])
        }
      }))

    // A notification at every step, between asking and falling asleep too.
    it.effect(`Notify.${mode} loses no notification when it comes at any step of the waiter`, () =>
      Effect.gen(function*() {
        for (let at = 0, notified = true; notified; at++) {
          const pool = makePool()
          let steps = 0
          const scheduler = Scheduler.make(
            (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
            () => {
              if (steps++ !== at) return false
              pool.put()
              return 0
            }
          )
          const fiber = Effect.runFork(pool.take(mode, "a"), { scheduler })
          yield* settle
          notified = steps > at
          expect([at, sleeps(fiber), pool.takers]).toEqual([at, !notified, notified ? ["a"] : []])
          yield* Fiber.interrupt(fiber)
        }
      }))
  })

  describe.each(["waitInTurn", "waitInTurn with restore"] as const)("%s", (mode) => {
    it.effect(`Notify.${mode} wakes the waiter that has slept longest, and no other, at notifyOne`, () =>
      Effect.gen(function*() {
        const { fibers, pool } = yield* makeSleepers(mode)
        expect(pool.notify.hasWaitersInTurn).toBe(true)
        pool.put()
        yield* settle
        expect([pool.takers, fibers.map(sleeps)]).toEqual([["a"], [false, true, true]])
        pool.put()
        pool.put()
        yield* settle
        expect([pool.takers, pool.notify.hasWaitersInTurn]).toEqual([["a", "b", "c"], false])
      }))

    it.effect(`Notify.${mode} polls the first waiter only when notifyOne comes in vain`, () =>
      Effect.gen(function*() {
        expect(new Notify().notifyOne()).toBe(false)
        const { fibers: [first], pool } = yield* makeSleepers(mode)
        expect(pool.notify.notifyOne()).toBe(true)
        yield* settle
        expect(pool.polled).toEqual(["a", "b", "c", "a"])
        yield* Fiber.interrupt(first!)
        yield* settle
        expect(pool.polled).toEqual(["a", "b", "c", "a"])
      }))
  })

  it.effect("Notify.waitInTurn polls again when it is notified between asking and falling asleep", () =>
    Effect.gen(function*() {
      const notify = new Notify()
      let asked = 0
      const poll = () => ++asked === 3 ? Effect.succeed("answer") : undefined
      // what is done around the sleep comes after the asking
      const answer = yield* notify.waitInTurn(
        poll,
        (sleep) => Effect.zipRight(Effect.sync(() => asked === 1 ? notify.notifyOne() : notify.notifyAll()), sleep)
      )
      expect([answer, asked]).toEqual(["answer", 3])
    }))

  it.effect("Notify.waitUntil wakes every waiter at notifyOne", () =>
    Effect.gen(function*() {
      const { pool } = yield* makeSleepers("waitUntil")
      expect(pool.notify.notifyOne()).toBe(false)
      yield* settle
      expect([pool.polled, pool.notify.hasWaitersInTurn]).toEqual([["a", "b", "c", "a", "b", "c"], false])
    }))

  it.effect("Notify.notifyOne wakes a waiter in turn beside a lone waiter that was interrupted", () =>
    Effect.gen(function*() {
      const pool = makePool()
      const lone = yield* Effect.fork(pool.take("waitUntil", "lone"))
      const inTurn = yield* Effect.fork(pool.take("waitInTurn", "in turn"))
      yield* settle
      yield* Fiber.interrupt(lone)
      pool.put()
      yield* settle
      expect([sleeps(inTurn), pool.takers]).toEqual([false, ["in turn"]])
    }))

  it("Notify.add calls back once, at the next notification", () => {
    const notify = new Notify()
    const called: Array<string> = []
    for (const name of ["a", "b", "c"]) notify.add(() => called.push(name))
    notify.notifyOne()
    notify.notifyAll()
    expect(called).toEqual(["a", "b", "c"])
  })

  it("Notify.add registers again when the callback does so", () => {
    const notify = new Notify()
    let calls = 0
    const again = () => {
      calls++
      notify.add(again)
    }
    notify.add(again)
    for (let i = 0; i < 3; i++) notify.notifyAll()
    expect(calls).toBe(3)
  })

  it("Notify.add returns a function that cancels this callback only", () => {
    const notify = new Notify()
    const called: Array<string> = []
    const [cancelA, cancelB] = ["a", "b", "c"].map((name) => notify.add(() => called.push(name)))
    cancelA!()
    cancelB!()
    notify.add(() => called.push("d"))
    cancelA!()
    notify.notifyAll()
    expect(called.sort()).toEqual(["c", "d"])
  })

  const operation = FastCheck.oneof(
    { weight: 4, arbitrary: FastCheck.constantFrom(...modes, "put" as const) },
    { weight: 1, arbitrary: FastCheck.constantFrom("putAll" as const, "yield" as const) },
    { weight: 2, arbitrary: FastCheck.nat(10) }
  )

  it.effect.prop(
    "Notify loses no wake-up under random interruption of waiters of all modes",
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
            fibers.push(yield* Effect.fork(pool.take(operation, `${fibers.length}`)))
          }
        }
        yield* settle
        expect(pool.takers.length + pool.items).toBe(put)
        expect(pool.items === 0 || !fibers.some(sleeps)).toBe(true)
        expect(pool.notify.chosen).toBe(0)
      })
  )
})

describe("Notify.addInTurn", () => {
  /** A `Notify` with callbacks that wait in turn, the names of those that were called, and the waiters. */
  const makeCallbacks = () => {
    const called: Array<string> = []
    const notify = new Notify(() => called.push("passed back"))
    const add = (name: string) => notify.addInTurn(() => called.push(name))
    return { a: add("a"), b: add("b"), c: add("c"), called, notify }
  }

  it("Notify.addInTurn calls back once for each notification, in the order of the calls", () => {
    const { called, notify } = makeCallbacks()
    expect(notify.notifyOne()).toBe(true)
    expect(called).toEqual(["a"])
    notify.notifyAll()
    expect([called, notify.hasWaitersInTurn, notify.notifyOne()]).toEqual([["a", "b", "c"], false, false])
  })

  it("Notify.addInTurn skips a callback that was cancelled", () => {
    const { a, called, notify } = makeCallbacks()
    notify.cancel(a)
    expect(called).toEqual([])
    notify.notifyOne()
    expect(called).toEqual(["b"])
  })

  it("Notify.addInTurn passes the wake-up on when a callback is cancelled after it was woken", () => {
    const { a, b, c, called, notify } = makeCallbacks()
    notify.notifyOne()
    for (const waiter of [a, b, c]) notify.cancel(waiter)
    expect([called, notify.chosen]).toEqual([["a", "b", "c", "passed back"], 0])
  })

  it("Notify.addInTurn wakes no other callback when all were woken and one is cancelled", () => {
    const { a, called, notify } = makeCallbacks()
    notify.notifyAll()
    notify.addInTurn(() => called.push("d"))
    notify.cancel(a)
    expect(called).toEqual(["a", "b", "c"])
  })

  it("Notify.chosen counts the waiters that were woken by notifyOne until they look", () => {
    const { a, b, c, notify } = makeCallbacks()
    const counts = [notify.chosen]
    const count = (step: () => void) => {
      step()
      counts.push(notify.chosen)
    }
    count(() => notify.notifyOne())
    count(() => notify.notifyOne())
    count(() => notify.looks(a))
    count(() => notify.cancel(b)) // `c` is chosen instead
    count(() => notify.looks(c))
    count(() => notify.notifyAll())
    expect(counts).toEqual([0, 1, 2, 1, 1, 0, 0])
  })
})
