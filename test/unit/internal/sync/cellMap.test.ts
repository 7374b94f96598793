import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { CellMap } from "../../../../src/internal/sync/cellMap.js"

interface Item {
  readonly number: number
}

const key = FastCheck.nat(8)

describe("CellMap", () => {
  it.prop(
    "CellMap answers every operation as a Map does",
    [FastCheck.array(
      FastCheck.oneof(
        { weight: 3, arbitrary: FastCheck.record({ add: key }) },
        { weight: 3, arbitrary: FastCheck.record({ take: key }) },
        { weight: 1, arbitrary: FastCheck.constant({ clear: true }) }
      ),
      { maxLength: 40 }
    )],
    ([operations]) => {
      const cells = new CellMap<number, Item>()
      const map = new Map<number, Item>()
      operations.forEach((operation, number) => {
        if ("add" in operation) {
          if (map.has(operation.add)) return
          map.set(operation.add, { number })
          cells.add(operation.add, map.get(operation.add)!)
        } else if ("take" in operation) {
          expect(cells.take(operation.take)).toBe(map.get(operation.take))
          map.delete(operation.take)
        } else {
          expect(cells.clear()).toEqual([...map.values()])
          map.clear()
        }
        expect(cells.size).toBe(map.size)
        expect(cells.values()).toEqual([...map.values()])
        expect(cells.first).toBe([...map.values()][0])
        for (let key = 0; key <= 8; key++) {
          expect([cells.has(key), cells.get(key)]).toEqual([map.has(key), map.get(key)])
        }
      })
    }
  )
})
