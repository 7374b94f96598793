import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { parity, type Role, StreamIds } from "../../../../src/internal/wire/streamIds.js"

const nothingLives = () => false

const takeMany = (ids: StreamIds, count: number, isLive: (id: number) => boolean = nothingLives): Array<number> =>
  Array.from({ length: count }, () => ids.take(isLive))

/** The last id of a role. The odd id 2^32-1 belongs to the records of the dialect. */
const lastOf = (role: Role): number => role === "server" ? 0xffff_fffe : 0xffff_fffd

const roles: ReadonlyArray<readonly [role: Role, first: 0 | 1]> = [["server", 0], ["client", 1]]

for (const [role, first] of roles) {
  describe(`StreamIds of a ${role}`, () => {
    it(`StreamIds of a ${role} start with ${first}, and increase by 2`, () => {
      expect([parity(role), ...takeMany(new StreamIds(role), 4)]).toEqual([
        first,
        first,
        first + 2,
        first + 4,
        first + 6
      ])
    })

    it(`StreamIds.isOurs of a ${role} accepts ids with the parity of the role only`, () => {
      const ids = new StreamIds(role)
      const candidates = [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]
      expect(candidates.filter((id) => ids.isOurs(id))).toEqual(candidates.filter((id) => id % 2 === first))
    })

    it(`StreamIds.take of a ${role} skips live ids`, () => {
      const live = new Set([first, first + 2, first + 6])
      expect(takeMany(new StreamIds(role), 3, (id) => live.has(id))).toEqual([first + 4, first + 8, first + 10])
    })

    it(`StreamIds.take of a ${role} skips each reserved id once`, () => {
      const ids = new StreamIds(role)
      expect([ids.reserve(first, nothingLives), ids.reserve(first + 4, nothingLives)]).toEqual([true, true])
      expect(takeMany(ids, 3)).toEqual([first + 2, first + 6, first + 8])
    })

    it(`StreamIds.take of a ${role} restarts after the last id, and skips live and reserved ids`, () => {
      const last = lastOf(role)
      const ids = new StreamIds(role, last - 2)
      expect([ids.reserve(last, nothingLives), ...takeMany(ids, 3)]).toEqual([true, last - 2, first, first + 2])
      const live = (id: number) => id === first + 4
      expect([
        ids.reserve(first + 2, live), // used since the restart
        ids.reserve(first + 4, live),
        ids.reserve(first + 6, live),
        ids.take(live),
        ids.reserve(last, live)
      ]).toEqual([false, false, true, first + 8, true])
    })

    it(`StreamIds.reserve of a ${role} refuses ids that are live, used or reserved`, () => {
      const ids = new StreamIds(role)
      takeMany(ids, 2)
      const live = (id: number) => id === first + 8
      const reserve = (id: number) => ids.reserve(id, live)
      expect([
        ["used", reserve(first), reserve(first + 2)],
        ["next", reserve(first + 4)],
        ["reserved", reserve(first + 4)],
        ["live", reserve(first + 8)],
        ["last", reserve(lastOf(role)), reserve(lastOf(role))]
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

describe("StreamIds", () => {
  const near = FastCheck.integer({ min: 0, max: 30 }).map((n) => n * 2)
  const operation = FastCheck.oneof(
    FastCheck.constant({ kind: "take" as const }),
    FastCheck.record({ kind: FastCheck.constant("reserve" as const), id: near })
  )

  it.prop(
    "StreamIds returns each id once, and no live id, for any operations",
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
