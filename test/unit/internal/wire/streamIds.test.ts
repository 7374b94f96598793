import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { parity, type Role, StreamIds } from "../../../../src/internal/wire/streamIds.js"

const nothingLives = () => false

const takeMany = (ids: StreamIds, count: number, isLive: (id: number) => boolean = nothingLives): Array<number> =>
  Array.from({ length: count }, () => ids.take(isLive))

const roles: ReadonlyArray<readonly [role: Role, first: 0 | 1]> = [["server", 0], ["client", 1]]

for (const [role, first] of roles) {
  describe(`the ids of a ${role}`, () => {
    it(`begin with ${first}, and go on by two`, () => {
      expect([parity(role), ...takeMany(new StreamIds(role), 4)]).toEqual([
        first,
        first,
        first + 2,
        first + 4,
        first + 6
      ])
    })

    it("are told from those of the peer, up to the last", () => {
      const ids = new StreamIds(role)
      const candidates = [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]
      expect(candidates.filter((id) => ids.isOurs(id))).toEqual(candidates.filter((id) => id % 2 === first))
    })

    it("leave out those that live", () => {
      const live = new Set([first, first + 2, first + 6])
      expect(takeMany(new StreamIds(role), 3, (id) => live.has(id))).toEqual([first + 4, first + 8, first + 10])
    })

    it("leave out those that were reserved ahead, each once", () => {
      const ids = new StreamIds(role)
      expect([ids.reserve(first, nothingLives), ids.reserve(first + 4, nothingLives)]).toEqual([true, true])
      expect(takeMany(ids, 3)).toEqual([first + 2, first + 6, first + 8])
    })

    it("begin again after the last, where those that live or were reserved are left out", () => {
      const last = first + 0xffff_fffe
      const ids = new StreamIds(role, last - 2)
      expect([ids.reserve(last, nothingLives), ...takeMany(ids, 3)]).toEqual([true, last - 2, first, first + 2])
      const live = (id: number) => id === first + 4
      expect([
        ids.reserve(first + 2, live), // used in this lap
        ids.reserve(first + 4, live),
        ids.reserve(first + 6, live),
        ids.take(live),
        ids.reserve(last, live)
      ]).toEqual([false, false, true, first + 8, true])
    })

    it("can be reserved unless they live or have been used", () => {
      const ids = new StreamIds(role)
      takeMany(ids, 2)
      const live = (id: number) => id === first + 8
      const reserve = (id: number) => ids.reserve(id, live)
      expect([
        ["used", reserve(first), reserve(first + 2)],
        ["next", reserve(first + 4)],
        ["reserved", reserve(first + 4)],
        ["live", reserve(first + 8)],
        ["last", reserve(first + 0xffff_fffe), reserve(first + 0xffff_fffe)]
      ]).toEqual([
        ["used", false, false],
        ["next", true],
        ["reserved", false],
        ["live", false],
        ["last", true, false]
      ])
    })
  })
}

describe("ids", () => {
  const near = FastCheck.integer({ min: 0, max: 30 }).map((n) => n * 2)
  const operation = FastCheck.oneof(
    FastCheck.constant({ kind: "take" as const }),
    FastCheck.record({ kind: FastCheck.constant("reserve" as const), id: near })
  )

  it.prop(
    "are handed out once each, and never while they live",
    [FastCheck.array(operation, { maxLength: 60 }), FastCheck.uniqueArray(near)],
    ([operations, living]) => {
      const ids = new StreamIds("server")
      const isLive = (id: number) => living.includes(id)
      const handedOut: Array<number> = []
      for (const operation of operations) {
        if (operation.kind === "take") handedOut.push(ids.take(isLive))
        else if (ids.reserve(operation.id, isLive)) handedOut.push(operation.id)
      }
      expect(handedOut).toEqual([...new Set(handedOut)])
      expect(handedOut.filter(isLive)).toEqual([])
      expect(handedOut.every((id) => ids.isOurs(id))).toBe(true)
    }
  )
})
