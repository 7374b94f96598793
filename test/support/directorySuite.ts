import { describe, expect, it } from "@effect/vitest"
import type * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { eventually } from "./transports.js"
import { patience, within } from "./within.js"

const one = { id: "one", url: "ws://one" }
const two = { id: "two", url: "ws://two" }

/** A claim of an agent that has just come to the node `one`. */
export const claimOf = (
  name: string,
  claim: Partial<RelayDirectory.Claim> & { readonly agent?: string } = {}
): RelayDirectory.Claim => ({
  name,
  epoch: 1,
  node: "one",
  agent: `agent of ${claim.node ?? "one"}`,
  program: claim.agent ?? `program of ${claim.node ?? "one"}`,
  ageMillis: 0,
  maxAgents: 10,
  ...claim
})

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
        const [older, newer] = [1_800_000_000, 1_800_000_001]
        const claim = (node: string, epoch: number) => directory.claim(claimOf("a", { node, epoch }))
        expect(yield* directory.find("a")).toEqual(Option.none())
        expect(yield* claim("two", older)).toBe("admitted")
        expect(yield* claim("one", older)).toBe("admitted")
        expect(yield* claim("one", older)).toBe("admitted") // again
        const nodes = [{ ...one, agents: 1 }, { ...two, agents: 1 }]
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: older, nodes }))
        expect(yield* claim("two", newer)).toBe("admitted")
        expect(yield* claim("one", older)).toBe("superseded")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: newer, nodes: [{ ...two, agents: 1 }] }))
      }))

    it.scopedLive(`a directory in ${kind} gives a later connection of a program the place of an earlier one`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        const at = (node: string, agent: string, program: string | undefined, ageMillis = 0) =>
          claimOf("a", { node, agent, program, ageMillis })
        const counts = Effect.map(
          directory.find("a"),
          (found) => Option.getOrThrow(found).nodes.map(({ agents, id }) => `${id} ${agents}`)
        )
        yield* directory.claim(at("one", "1", undefined, 10_000))
        yield* directory.claim(at("two", "2", undefined))
        expect(yield* counts).toEqual(["two 1"])
        // the earlier one claims again, as after a time in which the directory was away
        expect(yield* directory.claim(at("one", "1", undefined, 10_000))).toBe("superseded")
        yield* directory.claim(at("one", "3", "p", 10_000))
        yield* directory.claim(at("one", "4", "q"))
        expect(yield* counts).toEqual(["one 2"]) // agents that tell their program share the name
        yield* directory.claim(at("two", "5", "p"))
        expect(yield* counts).toEqual(["one 1", "two 1"])
        expect(yield* directory.claim(at("one", "3", "p", 10_000))).toBe("superseded")
      }))

    it.scopedLive(`a directory in ${kind} refuses an agent when the living nodes have maxAgents of the name`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        const at = (node: string, agent: string) => claimOf("a", { node, agent, maxAgents: 2 })
        yield* directory.claim(at("one", "1"))
        yield* directory.claim(at("two", "2"))
        expect(yield* directory.weigh(at("two", "3"))).toBe("full")
        expect(yield* directory.claim(at("two", "3"))).toBe("full")
        expect(yield* directory.claim(at("one", "1"))).toBe("admitted") // has its place
        expect(yield* directory.weigh(claimOf("a", { agent: "4", program: "2", maxAgents: 2 }))).toBe("admitted")
        expect(yield* directory.weigh(claimOf("a", { agent: "4", epoch: 0 }))).toBe("superseded")
        yield* directory.leave("two")
        expect(yield* directory.weigh(at("one", "3"))).toBe("admitted")
        expect(Option.getOrThrow(yield* directory.find("a")).nodes).toEqual([{ ...one, agents: 1 }])
      }))

    it.scopedLive(`a directory in ${kind} forgets a node of a name when its last agent is released`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        const [first, second] = [claimOf("a"), claimOf("a", { node: "two" })]
        yield* directory.claim(first)
        yield* directory.claim(second)
        yield* directory.release({ name: "a", agent: "another" })
        yield* directory.release(first)
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [{ ...two, agents: 1 }] }))
        yield* directory.release(second)
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [] })) // known for a short time
        yield* directory.claim(second)
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [{ ...two, agents: 1 }] }))
      }))

    it.scopedLive(`a directory in ${kind} forgets a node with its names when it does not renew, or leaves`, () =>
      Effect.gen(function*() {
        const directory = yield* make
        expect(yield* directory.renew(one, 50)).toBe(false)
        yield* directory.claim(claimOf("a", { epoch: 2 }))
        const none = (found: Option.Option<RelayDirectory.Entry>) => Option.getOrUndefined(found)?.nodes.length === 0
        const gone = Effect.repeat(Effect.delay(directory.find("a"), 10), { until: none })
        yield* gone.pipe(within(patience, "the end of the time to live"))
        expect(yield* directory.renew(one, 60_000)).toBe(false)
        expect(yield* directory.renew(one, 60_000)).toBe(true)
        yield* directory.claim(claimOf("a", { agent: "later", epoch: 3 }))
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 3, nodes: [{ ...one, agents: 1 }] }))
        yield* directory.leave("one")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 3, nodes: [] }))
        // no living node has a newer epoch
        yield* directory.renew(two, 60_000)
        expect(yield* directory.claim(claimOf("a", { node: "two" }))).toBe("admitted")
      }))

    it.scopedLive(`a directory in ${kind} forgets a released agent when its node has not renewed in time`, () =>
      Effect.gen(function*() {
        const directory = yield* make
        yield* directory.renew(one, 50)
        yield* directory.claim(claimOf("a"))
        const gone = Effect.repeat(Effect.delay(directory.nodes, 10), { until: (nodes) => nodes.length === 0 })
        yield* gone.pipe(within(patience, "the end of the time to live"))
        yield* directory.release(claimOf("a"))
        yield* directory.renew(one, 60_000)
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [] }))
      }))

    it.scopedLive(`a directory in ${kind} takes a claim of a node that has left, and finds no such node`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        yield* directory.leave("one")
        expect(yield* directory.claim(claimOf("a"))).toBe("admitted")
        expect(yield* directory.claim(claimOf("a", { node: "two" }))).toBe("admitted")
        expect(yield* directory.find("a")).toEqual(Option.some({ epoch: 1, nodes: [{ ...two, agents: 1 }] }))
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
        expect(yield* directory.owe("b", { teller: "one", total: 0, units: 0 }, 4)).toBeLessThanOrEqual(4)
        const left = yield* directory.owe("c", { teller: "one", total: 5000, units: 5000 }, 3)
        expect([Math.floor(left), yield* directory.take("c", 1, 3)]).toEqual([-4997, 0])
        const again = Effect.repeat(Effect.delay(directory.take("d", 1000, 1000), 10), { until: (n) => n > 0 })
        expect(yield* directory.take("d", 1000, 1000)).toBe(1000)
        expect(yield* again.pipe(within(patience, "units by time"))).toBeLessThan(1000)
      }))

    it.scopedLive(`a directory in ${kind} counts each unit of a debt once when its teller tells it again`, () =>
      Effect.gen(function*() {
        const directory = yield* make
        const slow = 0.001 // units a second: no test lasts until the next one
        const left = (budget: string, teller: string, total: number, units: number) =>
          Effect.map(directory.owe(budget, { teller, total, units }, slow), Math.floor)
        expect(yield* left("a", "one", 100, 100)).toBe(-99)
        expect(yield* left("a", "one", 100, 100)).toBe(-99) // the answer was lost
        expect(yield* left("a", "one", 150, 150)).toBe(-149)
        expect(yield* left("a", "one", 160, 10)).toBe(-159)
        expect(yield* left("a", "one", 100, 100)).toBe(-159) // late on its way
        expect(yield* left("a", "two", 1000, 40)).toBe(-199)
        expect(yield* left("b", "two", 1000, 40)).toBe(-39)
        expect(yield* left("a", "one", 1160, 30)).toBe(-229) // the teller has let go of the rest
        expect(yield* left("a", "one", 0, 0)).toBe(-229)
      }))

    it.scopedLive(`a directory in ${kind} tells what claims and releases have changed`, () =>
      Effect.gen(function*() {
        const directory = yield* known
        const heard: Array<RelayDirectory.Change> = []
        const hear = Stream.runForEach(directory.changes, (change) => Effect.sync(() => heard.push(change)))
        yield* Effect.forkScoped(hear)
        // a claim before the subscription is not heard
        const until = (count: number) => () => heard.filter(({ name }) => name !== undefined).length >= count
        yield* Effect.repeat(Effect.delay(directory.claim(claimOf("first")), 20), { until: until(1) }).pipe(
          within(patience, "a change")
        )
        yield* eventually(() => heard.at(-1)?.name === "first")
        heard.length = 0
        yield* directory.claim(claimOf("a", { agent: "1", program: undefined }))
        yield* directory.claim(claimOf("a", { agent: "2", node: "two", program: undefined }))
        yield* directory.release({ name: "a", agent: "1" })
        yield* directory.release({ name: "a", agent: "2" })
        yield* eventually(until(3))
        expect(heard).toEqual([
          { name: "a", epoch: 1, nodes: [{ ...one, agents: 1 }], superseded: [] },
          { name: "a", epoch: 1, nodes: [{ ...two, agents: 1 }], superseded: ["1"] },
          { name: "a", epoch: 1, nodes: [], superseded: [] }
        ])
      }))
  })
}
