import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Limits } from "../../../src/relay/limits.js"

const make = (requestsPerSecond: number, bytesPerSecond: number) => {
  const clock = { now: 0 }
  const limits = new Limits(requestsPerSecond, bytesPerSecond, () => clock.now)
  const admit = (name: string) => Effect.runSync(Effect.either(limits.admit(name)))
  return { clock, limits, admits: (name: string) => admit(name)._tag === "Right", admit }
}

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
    const { admit, admits, clock, limits } = make(Infinity, 100)
    limits.spend("a", 350)
    expect(admit("a")).toMatchObject({ left: { status: 429, retryAfter: 3 } })
    expect(admits("b")).toBe(true)
    clock.now = 2500
    expect(admits("a")).toBe(false)
    clock.now = 2501
    expect(admits("a")).toBe(true)
  })

  it("Limits keeps nothing when it is unlimited", () => {
    const { admits, limits } = make(Infinity, Infinity)
    limits.spend("a", 1e12)
    expect(admits("a")).toBe(true)
  })
})
