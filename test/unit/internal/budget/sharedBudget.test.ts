import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { SharedBudget } from "../../../../src/internal/budget/sharedBudget.js"

describe("SharedBudget", () => {
  it("SharedBudget gives its first half to the first holder that takes", () => {
    const budget = new SharedBudget(100)
    const [greedy, other] = [budget.join(), budget.join()]
    expect([greedy.take(50), greedy.take(1), other.take(1), budget.used]).toEqual([true, false, true, 51])
  })

  it("SharedBudget keeps an equal part of its second half for each holder", () => {
    const budget = new SharedBudget(100)
    const [greedy, second, third] = [budget.join(), budget.join(), budget.join()]
    expect([greedy.take(50), second.take(16), third.take(16)]).toEqual([true, true, true])
    expect([second.take(1), third.take(1), greedy.take(1), budget.used]).toEqual([false, false, false, 82])
  })

  it("SharedBudget raises the parts of the others when a holder has left", () => {
    const budget = new SharedBudget(100)
    const [first, second] = [budget.join(), budget.join()]
    first.take(50)
    expect(second.take(26)).toBe(false)
    first.leave()
    first.leave() // a second call has no effect
    expect([second.take(26), budget.used]).toEqual([true, 76])
    first.giveBack(50)
    expect([budget.used, first.held, second.held]).toEqual([26, 0, 26])
  })

  it("SharedBudget gives each holder its allowance when greedy holders have taken all", () => {
    const budget = new SharedBudget(10, 2)
    for (let i = 0; i < 9; i++) {
      const greedy = budget.join()
      while (greedy.take(1));
    }
    const late = budget.join()
    expect([late.take(1), late.take(1), late.take(1)]).toEqual([true, true, false])
    expect(budget.used).toBeLessThanOrEqual(10 + 2 * 10)
  })

  it("Share.force takes an amount beyond the total", () => {
    const budget = new SharedBudget(100)
    const share = budget.join()
    share.force(150)
    expect([budget.used, share.take(1)]).toEqual([150, false])
    share.giveBack(150)
    expect(share.take(50)).toBe(true)
  })

  it.prop(
    "SharedBudget gives at most its total for any operations",
    [FastCheck.array(FastCheck.tuple(FastCheck.nat(4), FastCheck.integer({ min: -20, max: 40 })), { maxLength: 100 })],
    ([steps]) => {
      const budget = new SharedBudget(100)
      const shares = Array.from({ length: 5 }, () => budget.join())
      for (const [index, amount] of steps) {
        const share = shares[index]!
        if (amount >= 0) share.take(amount)
        else share.giveBack(Math.min(-amount, share.held))
        expect(budget.used).toBeLessThanOrEqual(100)
        expect(shares.reduce((sum, { held }) => sum + held, 0)).toBe(budget.used)
      }
    }
  )
})
