import { describe, expect, it } from "@effect/vitest"
import { sweep } from "../../../src/relay/sweep.js"

describe("sweep", () => {
  it("sweep keeps a map small when its entries are over soon", () => {
    const map = new Map<string, number>()
    let visited = 0
    let now = 0
    const swept = sweep(map, (until) => {
      visited++
      return until <= now
    })
    let most = 0
    for (; now < 100_000; now++) {
      map.set(String(now), now + 2000)
      swept()
      most = Math.max(most, map.size)
    }
    expect(most).toBeLessThan(2 * 2000 + 1000)
    expect(visited).toBeLessThan(3 * 100_000)
  })

  it("sweep deletes no entry that is not over", () => {
    const map = new Map<string, boolean>()
    const swept = sweep(map, (isOver) => isOver)
    for (let i = 0; i < 3000; i++) {
      map.set(String(i), i % 2 === 0)
      swept()
    }
    expect([...map.values()].filter((isOver) => !isOver).length).toBe(1500)
  })
})
