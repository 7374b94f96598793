import { describe, expect, it } from "@effect/vitest"
import { format, inspect } from "node:util"
import { inspectable } from "../../../../src/internal/observe/inspectable.js"

describe("inspectable", () => {
  it("inspectable shows an object as its data in logs, JSON and texts", () => {
    let id = 0
    const object = { secret: "hidden", ...inspectable(() => ({ _id: "Thing", id: ++id })) }
    expect(inspect(object)).toBe("{ _id: 'Thing', id: 1 }")
    expect(format("%o", object)).toContain("id: 2")
    expect(JSON.parse(JSON.stringify(object))).toEqual({ _id: "Thing", id: 3 })
    expect(JSON.parse(String(object))).toEqual({ _id: "Thing", id: 4 })
  })
})
