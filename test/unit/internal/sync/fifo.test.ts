import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { Fifo } from "../../../../src/internal/sync/fifo.js"

interface Item {
  readonly number: number
}

const makeItems = (count: number): ReadonlyArray<Item> => Array.from({ length: count }, (_, number) => ({ number }))

describe("Fifo", () => {
  it.prop(
    "Fifo answers every operation as an array does",
    [FastCheck.array(
      FastCheck.oneof(
        { weight: 3, arbitrary: FastCheck.record({ push: FastCheck.integer({ min: 1, max: 100 }) }) },
        { weight: 3, arbitrary: FastCheck.record({ shift: FastCheck.integer({ min: 1, max: 100 }) }) },
        { weight: 1, arbitrary: FastCheck.record({ remove: FastCheck.nat(400) }) },
        { weight: 1, arbitrary: FastCheck.constant({ clear: true }) }
      ),
      { maxLength: 40 }
    )],
    ([operations]) => {
      const fifo = new Fifo<Item>()
      let array: Array<Item> = []
      const made: Array<Item> = []
      for (const operation of operations) {
        if ("push" in operation) {
          for (const item of makeItems(operation.push)) {
            made.push(item)
            array.push(item)
            fifo.push(item)
          }
        } else if ("shift" in operation) {
          for (let i = 0; i < operation.shift; i++) expect(fifo.shift()).toBe(array.shift())
        } else if ("remove" in operation) {
          const item = made[operation.remove % Math.max(made.length, 1)] ?? { number: -1 }
          expect(fifo.remove(item)).toBe(array.includes(item))
          array = array.filter((other) => other !== item)
        } else {
          expect(fifo.clear()).toEqual(array)
          array = []
        }
        expect(fifo.first).toBe(array[0])
        expect(fifo.length).toBe(array.length)
      }
    }
  )

  it("Fifo keeps its order when its elements leave while others come", () => {
    const fifo = new Fifo<Item>()
    const left: Array<number> = []
    for (const item of makeItems(10_000)) {
      fifo.push(item)
      if (item.number % 3 > 0) left.push(fifo.shift()!.number)
    }
    for (let item = fifo.shift(); item !== undefined; item = fifo.shift()) left.push(item.number)
    expect(left).toEqual(makeItems(10_000).map(({ number }) => number))
    expect(fifo.length).toBe(0)
  })
})
