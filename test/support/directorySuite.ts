import { describe, expect, it } from "@effect/vitest"
import type * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { patience, within } from "./within.js"

const one = { id: "one", url: "ws://one" }
const two = { id: "two", url: "ws://two" }

/** The rules of a directory, for each kind. */
export const directorySuite = (
  kind: string,
  make: Effect.Effect<RelayDirectory.Service, never, Scope.Scope>
): void => {
  /** A directory that knows two nodes. */
  const known = Effect.tap(
    make,
    (directory) => Effect.all([directory.renew(one, 60_000), directory.renew(two, 60_000)])
  )

  describe(`the directory in ${kind}`, () => {
    it.scopedLive(`a directory in ${kind} finds all nodes of the newest epoch when several claim a name`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        expect(yield* directory.find("a")).toEqual(Option.none())
        expect(yield* directory.claim("a", 1_800_000_000, "one")).toBe(1_800_000_000)
        expect(yield* directory.claim("a", 1_800_000_000, "two")).toBe(1_800_000_000)
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1_800_000_000, nodes: [one, two] }))
        expect(yield* directory.claim("a", 1_800_000_001, "two")).toBe(1_800_000_001)
        expect(yield* directory.claim("a", 1_800_000_000, "one")).toBe(1_800_000_001)
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1_800_000_001, nodes: [two] }))
      }))

    it.scopedLive(`a directory in ${kind} forgets a node of a name when the node releases its epoch`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        yield* directory.claim("a", 1, "one")
        yield* directory.claim("a", 1, "two")
        yield* directory.release("a", 2, "one")
        yield* directory.release("a", 1, "one")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [two] }))
        yield* directory.release("a", 1, "two")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [] })) // known for a short time
        yield* directory.claim("a", 1, "two")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [two] }))
      }))

    it.scopedLive(`a directory in ${kind} forgets a node with its names when it does not renew, or leaves`, () =>
      Effect.gen(function*() {
        const directory = yield* make
        expect(yield* directory.renew(one, 50)).toBe(false)
        yield* directory.claim("a", 2, "one")
        const none = (found: Option.Option<RelayDirectory.Entry>) => Option.getOrUndefined(found)?.nodes.length === 0
        const gone = Effect.repeat(Effect.delay(directory.find("a"), 10), { until: none })
        yield* gone.pipe(within(patience, "the end of the time to live"))
        expect(yield* directory.claim("a", 1, "one")).toBe(1) // no living node has a newer epoch
        expect(yield* directory.renew(one, 60_000)).toBe(false)
        expect(yield* directory.renew(one, 60_000)).toBe(true)
        yield* directory.claim("a", 1, "one")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [one] }))
        yield* directory.leave("one")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [] }))
      }))

    it.scopedLive(`a directory in ${kind} lists the nodes that live when others have left or died`, () =>
      Effect.gen(function*() {
        const directory = yield* make
        const ids = Effect.map(directory.nodes, (nodes) => nodes.map(({ id }) => id).sort())
        expect(yield* directory.nodes).toEqual([])
        yield* directory.renew({ id: "three", url: "ws://three" }, 50)
        yield* directory.renew(one, 60_000)
        yield* directory.renew(two, 60_000)
        const both = Effect.repeat(Effect.delay(ids, 10), { until: (ids) => ids.length === 2 })
        expect(yield* both.pipe(within(patience, "the end of the time to live"))).toEqual(["one", "two"])
        yield* directory.leave("two")
        expect(yield* directory.nodes).toEqual([one])
      }))

    it.scopedLive(`a directory in ${kind} grants no more units of a budget than it has, and lets it be owed`, () =>
      Effect.gen(function*() {
        const directory = yield* make
        const hardlyAny = 0.001 // units a second: no test lasts until the next one
        expect(yield* directory.take("a", 5, hardlyAny)).toBe(1)
        expect(yield* directory.take("a", 5, hardlyAny)).toBe(0)
        expect(yield* directory.take("b", 3, 4)).toBe(3)
        expect(yield* directory.owe("b", 0, 4)).toBeLessThanOrEqual(4)
        const left = yield* directory.owe("c", 5000, 3)
        expect([Math.floor(left), yield* directory.take("c", 1, 3)]).toEqual([-4997, 0])
        const again = Effect.repeat(Effect.delay(directory.take("d", 1000, 1000), 10), { until: (n) => n > 0 })
        expect(yield* directory.take("d", 1000, 1000)).toBe(1000)
        expect(yield* again.pipe(within(patience, "units by time"))).toBeLessThan(1000)
      }))

    it.scopedLive(`a directory in ${kind} tells of claims and releases`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        const hearing = yield* directory.changes.pipe(
          Stream.filter(({ name }) => name === "a"),
          Stream.take(2),
          Stream.runCollect,
          Effect.fork
        )
        // a claim before the subscription is not heard
        yield* Effect.forkScoped(Effect.repeat(Effect.delay(directory.claim("a", 1, "one"), 20), { times: 100 }))
        const heard = yield* hearing.pipe(within(patience, "two changes"))
        expect([...heard]).toEqual([{ name: "a", epoch: 1 }, { name: "a", epoch: 1 }])
      }))
  })
}
