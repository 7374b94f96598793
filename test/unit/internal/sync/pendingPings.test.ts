import { describe, expect, it } from "@effect/vitest"
import { PendingPings } from "../../../../src/internal/sync/pendingPings.js"

const makePings = (count: number) => {
  const pings = new PendingPings()
  const answered: Array<number> = []
  const numbers = Array.from({ length: count }, (_, i) => pings.add(() => answered.push(i)))
  return { pings, numbers, answered }
}

describe("PendingPings", () => {
  it("PendingPings answers a ping and all earlier ones, once and in their order", () => {
    const { answered, numbers, pings } = makePings(3)
    expect(numbers).toEqual([1, 2, 3])
    expect([pings.answer(2), pings.answer(2), pings.answer(1)]).toEqual([true, false, false])
    expect(answered).toEqual([0, 1])
    expect(pings.answer(3)).toBe(true)
    expect(answered).toEqual([0, 1, 2])
  })

  it("PendingPings answers nothing when the number is unknown", () => {
    const { answered, pings } = makePings(2)
    expect([0, 3, -1, NaN].map((number) => pings.answer(number))).toEqual([false, false, false, false])
    expect(answered).toEqual([])
  })

  it("PendingPings keeps the last 16 pings when the peer answers none", () => {
    const { answered, pings } = makePings(20)
    expect(pings.answer(4)).toBe(false)
    pings.answer(20)
    expect(answered).toEqual(Array.from({ length: 16 }, (_, i) => i + 4))
  })

  it("PendingPings answers no ping from before when it is cleared", () => {
    const { answered, pings } = makePings(2)
    pings.clear()
    expect([pings.answer(2), answered]).toEqual([false, []])
  })
})
