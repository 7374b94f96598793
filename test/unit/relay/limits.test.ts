import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { type Budgets, Limits } from "../../../src/relay/limits.js"
import * as RelayDirectory from "../../../src/RelayDirectory.js"

const make = (requestsPerSecond: number, bytesPerSecond: number) => {
  const clock = { now: 0 }
  const limits = new Limits(() => clock.now)
  const rates = { requestsPerSecond, bytesPerSecond }
  const admit = (name: string) => Effect.runSync(Effect.either(limits.admit(name, rates)))
  const spend = (name: string, bytes: number) => Effect.runSync(limits.spend(name, rates, bytes))
  return { clock, spend, admits: (name: string) => admit(name)._tag === "Right", admit }
}

/** The limits of two nodes that share budgets, and their clock. */
const makeTwo = (change: (budgets: Budgets) => Budgets = (budgets) => budgets) =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const budgets = change(yield* RelayDirectory.makeMemory)
    const now = () => clock.unsafeCurrentTimeMillis()
    return [new Limits(now, budgets), new Limits(now, budgets)] as const
  })

/** How many of so many requests are admitted. */
const admitted = (limits: Limits, rates: Parameters<Limits["admit"]>[1], count: number) =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), () => Effect.option(limits.admit("a", rates))),
    (results) => results.filter(({ _tag }) => _tag === "Some").length
  )

/** The limits of a node, and the bytes of which the shared budget was told. */
const makeTold = (answer: (told: ReturnType<Budgets["owe"]>) => ReturnType<Budgets["owe"]> = (told) => told) =>
  Effect.gen(function*() {
    const told: Array<number> = []
    const [limits] = yield* makeTwo(({ owe, take }) => ({
      take,
      owe: (budget, debt, perSecond) => {
        told.push(debt.units)
        return answer(owe(budget, debt, perSecond))
      }
    }))
    return { limits, told }
  })

const rates = { requestsPerSecond: Infinity, bytesPerSecond: 1000 }

const away = Effect.fail(new RelayDirectory.DirectoryFailure({ cause: "away" }))

describe("Limits", () => {
  it("Limits admits a second's requests at once, and then as many as time has passed", () => {
    const { admits, clock } = make(2, Infinity)
    expect(["a", "a", "a", "b"].map(admits)).toEqual([true, true, false, true])
    clock.now = 500
    expect(["a", "a"].map(admits)).toEqual([true, false])
    clock.now = 60_000
    expect(["a", "a", "a"].map(admits)).toEqual([true, true, false])
  })

  it("Limits refuses a name until its bytes are paid back when an answer was large", () => {
    const { admit, admits, clock, spend } = make(Infinity, 100)
    spend("a", 350)
    expect(admit("a")).toMatchObject({ left: { status: 429, retryAfter: 3 } })
    expect(admits("b")).toBe(true)
    clock.now = 2500
    expect(admits("a")).toBe(false)
    clock.now = 2501
    expect(admits("a")).toBe(true)
  })

  it("Limits keeps the debt of a name when 150,000 names that never were are asked for", () => {
    const { admits, clock, spend } = make(10, 100)
    spend("a", 1e6)
    for (let i = 0; i < 150_000; i++) {
      clock.now++
      admits(`made up ${i}`)
    }
    expect([admits("a"), admits("made up 0")]).toEqual([false, true])
  })

  it("Limits keeps nothing when it is unlimited", () => {
    const { admits, spend } = make(Infinity, Infinity)
    spend("a", 1e12)
    expect(admits("a")).toBe(true)
  })

  it.effect("Limits of two nodes together admit a second's requests when they share budgets", () =>
    Effect.gen(function*() {
      const [one, two] = yield* makeTwo()
      const rates = { requestsPerSecond: 100, bytesPerSecond: Infinity }
      const first = yield* admitted(one, rates, 61) // one, and twelve times the requests of a twentieth of a second
      const second = yield* admitted(two, rates, 60)
      expect([first, second]).toEqual([61, 39])
      yield* TestClock.adjust("1 second")
      expect(yield* admitted(two, rates, 200)).toBe(100)
      expect(yield* admitted(one, rates, 200)).toBe(0)
    }))

  it.effect("Limits refuse no request below the limit when many nodes have a few each", () =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      const budgets = yield* RelayDirectory.makeMemory
      const nodes = Array.from({ length: 40 }, () => new Limits(() => clock.unsafeCurrentTimeMillis(), budgets))
      const rates = { requestsPerSecond: 100, bytesPerSecond: Infinity }
      for (let second = 0; second < 3; second++) {
        const counts = yield* Effect.forEach(nodes, (node) => admitted(node, rates, 1))
        expect(counts.reduce((sum, count) => sum + count)).toBe(40)
        yield* TestClock.adjust("1 second")
      }
    }))

  it.effect("Limits let no request wait longer than 250 ms when the shared budgets are slow", () =>
    Effect.gen(function*() {
      const slowly = Effect.delay("200 millis")
      const [limits] = yield* makeTwo(({ owe, take }) => ({
        take: (...args) => slowly(take(...args)),
        owe: (...args) => slowly(owe(...args))
      }))
      const rates = { requestsPerSecond: 10, bytesPerSecond: 1000 }
      const requests = Array.from({ length: 10 }, () => limits.admit("a", rates))
      const asking = yield* Effect.fork(Effect.all(requests, { concurrency: "unbounded" }))
      yield* TestClock.adjust("250 millis")
      expect(asking.unsafePoll()).not.toBe(null)
      yield* Fiber.join(asking)
    }))

  it.effect("Limits ask for bytes and requests at once, and for bytes that were booked with them", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const [limits] = yield* makeTwo(({ owe, take }) => ({
        take: (...args) => Effect.delay(Effect.suspend(() => take(...args)), "200 millis"),
        owe: (budget, debt, perSecond) => {
          asked.push(`${budget} ${debt.units}`)
          return Effect.delay(owe(budget, debt, perSecond), "200 millis")
        }
      }))
      const rates = { requestsPerSecond: 10, bytesPerSecond: 1000 }
      limits.book("a", rates, 10)
      expect(asked).toEqual([])
      const admitting = yield* Effect.fork(limits.admit("a", rates))
      yield* TestClock.adjust("200 millis")
      expect(admitting.unsafePoll()).not.toBe(null)
      expect(asked).toEqual(["bytes:a 10"])
    }))

  it.effect("Limits of each node refuse a name when its bytes at both nodes are too many", () =>
    Effect.gen(function*() {
      const [one, two] = yield* makeTwo()
      const rates = { requestsPerSecond: Infinity, bytesPerSecond: 100 }
      yield* one.spend("a", rates, 60)
      yield* two.spend("a", rates, 90) // each node alone is below
      yield* TestClock.adjust("250 millis")
      expect(yield* Effect.flip(one.admit("a", rates))).toMatchObject({ status: 429, retryAfter: 1 })
      expect(yield* Effect.flip(two.admit("a", rates))).toMatchObject({ status: 429 })
      yield* TestClock.adjust("1 second")
      yield* one.admit("a", rates)
      yield* two.admit("a", rates)
    }))

  it.effect("Limits admit what the node itself allows when the shared budgets fail or are silent", () =>
    Effect.gen(function*() {
      let asked = 0
      let answer: Effect.Effect<never, RelayDirectory.DirectoryFailure> = Effect.fail(
        new RelayDirectory.DirectoryFailure({ cause: "away" })
      )
      const away = Effect.suspend(() => {
        asked++
        return answer
      })
      const [limits] = yield* makeTwo(() => ({ take: () => away, owe: () => away }))
      const rates = { requestsPerSecond: 10, bytesPerSecond: 1000 }
      expect(yield* admitted(limits, rates, 20)).toBe(10)
      expect(asked).toBe(2) // for bytes and for the request: no other request has waited
      yield* limits.spend("a", rates, 2000)
      yield* TestClock.adjust("1 second")
      expect(yield* Effect.flip(limits.admit("a", rates))).toMatchObject({ message: "too many bytes in a second" })
      yield* TestClock.adjust("2 seconds")
      answer = Effect.never
      const silent = yield* Effect.fork(admitted(limits, rates, 10))
      yield* TestClock.adjust("250 millis")
      expect(yield* Fiber.join(silent)).toBe(10)
      yield* TestClock.adjust("2 seconds")
      const booking = yield* Effect.fork(Effect.ensuring(Effect.void, limits.spend("a", rates, 1)))
      yield* TestClock.adjust("250 millis")
      yield* Fiber.join(booking)
    }))

  it.effect("Limits tell the shared budget of booked bytes when no further ones come", () =>
    Effect.gen(function*() {
      const { limits, told } = yield* makeTold()
      limits.book("a", rates, 10)
      yield* limits.spend("a", rates, 0)
      yield* limits.spend("a", rates, 0)
      expect(told).toEqual([10])
    }))

  it.effect("Limits tell the shared budget of bytes once when the request that tells is interrupted", () =>
    Effect.gen(function*() {
      const { limits, told } = yield* makeTold((told) => Effect.delay(told, "200 millis"))
      limits.book("a", rates, 10)
      const admitting = yield* Effect.fork(limits.admit("a", rates))
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(admitting)
      yield* TestClock.adjust("100 millis")
      yield* limits.spend("a", rates, 0)
      expect(told).toEqual([10])
    }))

  const losses = {
    fails: (told: ReturnType<Budgets["owe"]>) => Effect.zipRight(told, away),
    "comes too late": (told: ReturnType<Budgets["owe"]>) => Effect.zipLeft(told, Effect.sleep("10 seconds"))
  }
  for (const [what, lose] of Object.entries(losses)) {
    it.effect(`Limits owe the shared budget each byte once when an answer that it gave ${what}`, () =>
      Effect.gen(function*() {
        let isLost = true
        const left: Array<number> = []
        const { limits, told } = yield* makeTold((told) =>
          isLost ? lose(told) : Effect.tap(told, (units) => Effect.sync(() => left.push(units)))
        )
        const spend = (bytes: number) =>
          Effect.gen(function*() {
            const spending = yield* Effect.fork(limits.spend("a", rates, bytes))
            yield* TestClock.adjust("250 millis")
            yield* Fiber.join(spending)
          })
        yield* spend(9000)
        yield* TestClock.adjust("1 second")
        yield* spend(500)
        isLost = false
        yield* TestClock.adjust("1 second")
        yield* spend(100)
        expect(told).toEqual([9000, 9500, 9100]) // the node has paid back some
        // 1,000 at first, less 9,600, and the bytes of 2.5 seconds
        expect(left.map(Math.round)).toEqual([-6100])
      }))
  }

  it.effect("Limits tell the shared budget of new bytes when a key was forgotten and comes back", () =>
    Effect.gen(function*() {
      const totals: Array<readonly [number, number]> = []
      const [limits] = yield* makeTwo(({ owe, take }) => ({
        take,
        owe: (budget, debt, perSecond) => {
          if (budget === "bytes:a") totals.push([debt.total, debt.units])
          return owe(budget, debt, perSecond)
        }
      }))
      yield* limits.spend("a", rates, 10)
      yield* TestClock.adjust("1 minute")
      for (let i = 0; i < 5000; i++) yield* limits.spend(`b${i}`, { ...rates, bytesPerSecond: 1 }, 1)
      yield* limits.spend("a", rates, 10)
      expect(totals).toEqual([[10, 10], [5020, 10]])
    }))

  it.effect("Limits owe the shared budget no bytes when a key comes back after an outage of a day", () =>
    Effect.gen(function*() {
      let isAway = true
      const { limits, told } = yield* makeTold((told) => isAway ? away : told)
      yield* limits.spend("a", rates, 1000)
      yield* TestClock.adjust("1 day")
      isAway = false
      told.length = 0
      yield* limits.admit("a", rates)
      expect(told).toEqual([0])
    }))

  it.effect("Limits owe the shared budget at most two seconds' bytes when a key kept its limit", () =>
    Effect.gen(function*() {
      let isAway = true
      const { limits, told } = yield* makeTold((told) => isAway ? away : told)
      for (let second = 0; second < 60; second++) {
        yield* limits.spend("a", rates, 1000)
        yield* TestClock.adjust("1 second")
      }
      isAway = false
      told.length = 0
      yield* limits.spend("a", rates, 0)
      expect(told).toEqual([2000])
    }))
})
