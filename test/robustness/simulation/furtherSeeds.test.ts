import { describe, expect, it } from "@effect/vitest"
import { failuresOf, patience, total } from "./seeds.js"

// a file of its own, so that two processes share the seeds
describe("the simulation", () => {
  it("session keeps its promises in further random programs when links are cut and stall", async () => {
    expect(await failuresOf(Math.ceil(total / 2), total)).toEqual([])
  }, patience)
})
