import { describe, expect, it } from "@effect/vitest"
import { type Agent, Names } from "effect-wsmux/relay/names"
import type { Session } from "effect-wsmux/Session"

let ids = 0

/** An agent, whose session the names never use. */
const agentOf = (epoch: number, program: string | undefined, superseded: Array<Agent> = []): Agent => {
  const agent: Agent = {
    id: `${ids++}`,
    name: "site",
    epoch,
    program,
    at: 0,
    session: {} as Session,
    streams: 0,
    isLeaving: false,
    supersede: () => superseded.push(agent)
  }
  return agent
}

describe("Names", () => {
  it("Names supersedes agents when a newer token, their own program or an untold one comes", () => {
    const names = new Names(1000, "own")
    const superseded: Array<Agent> = []
    const agents = [
      agentOf(1, "a", superseded),
      agentOf(1, "b", superseded),
      agentOf(1, "a", superseded),
      agentOf(1, undefined, superseded),
      agentOf(1, undefined, superseded),
      agentOf(2, "c", superseded)
    ]
    const after = agents.map((agent) => [names.add(agent), superseded.splice(0).map((other) => agents.indexOf(other))])
    expect(after).toEqual([
      [true, []],
      [true, []],
      [true, [0]],
      [true, []],
      [true, [3]],
      [true, [1, 2, 4]]
    ])
    expect(names.add(agentOf(1, "d"))).toBe(false)
    expect([names.count("site"), names.epochOf("site"), names.size]).toEqual([1, 2, { agents: 1, names: 1 }])
  })

  it("Names.countBeside counts no agent whose place a further one takes", () => {
    const names = new Names(1000, "own")
    for (const program of ["a", "b", "c"]) names.add(agentOf(1, program))
    const count = (epoch: number, program?: string) => names.countBeside({ name: "site", epoch, program })
    expect([count(1, "d"), count(1, "a"), count(1), count(2, "d")]).toEqual([3, 2, 3, 0])
  })

  it("Names.supersede ends agents when they have an older token or are told by id", () => {
    const names = new Names(1000, "own")
    const superseded: Array<Agent> = []
    const agents = ["a", "b", "c"].map((program) => agentOf(2, program, superseded))
    for (const agent of agents) names.add(agent)
    names.supersede("site", 2, [agents[1]!.id, "elsewhere"], 0)
    expect([superseded.splice(0), agents.map((agent) => names.has(agent))]).toEqual([[agents[1]], [true, false, true]])
    names.supersede("site", 3, [], 0)
    expect([superseded, names.count("site")]).toEqual([[agents[0], agents[2]], 0])
  })

  it("Names.partOf gives all nodes together the whole limit, each by its agents", () => {
    const owners = [{ id: "one", agents: 2 }, { id: "own", agents: 1 }, { id: "two", agents: 4 }]
    const parts = (limit: number) =>
      owners.map(({ id }) => {
        const names = new Names(1000, id)
        names.add(agentOf(1, "a"))
        names.setOwners("site", owners)
        return names.partOf("site", limit)
      })
    expect(parts(1000)).toEqual([285, 143, 572])
    expect(parts(1).reduce((sum, part) => sum + part)).toBe(1)
    const unknown = new Names(1000, "unknown")
    unknown.add(agentOf(1, "a"))
    expect(unknown.partOf("site", 1000)).toBe(1000)
    unknown.setOwners("site", owners)
    expect(unknown.partOf("site", 1000)).toBe(1000) // the directory does not know of its agent yet
  })

  it("Names.pick takes turns among the least busy agents, and skips those that leave", () => {
    const names = new Names(1000, "own")
    const agents = ["a", "b", "c"].map((program) => agentOf(1, program))
    for (const agent of agents) names.add(agent)
    agents[1]!.streams = 1
    const picked = () => agents.indexOf(names.pick("site")!)
    expect(new Set([picked(), picked(), picked()])).toEqual(new Set([0, 2]))
    agents[0]!.isLeaving = agents[2]!.isLeaving = true
    expect(picked()).toBe(1)
    agents[1]!.isLeaving = true
    expect(names.pick("site")).toBe(undefined)
    expect(names.pick("site", 2)).toBe(undefined)
  })

  it("Names forgets a name when its last agent has left for the given time", () => {
    const names = new Names(1000, "own")
    const [first, second] = [agentOf(1, "a"), agentOf(1, "b")]
    names.add(first)
    names.add(second)
    expect(names.remove(first, 0)).toBe(false)
    expect(names.remove(second, 10)).toBe(true)
    expect(names.remove(second, 20)).toBe(false)
    expect([names.hasJustLeft("site", 1009), names.hasJustLeft("site", 1010)]).toEqual([true, false])
    expect(names.epochOf("site")).toBe(undefined)
  })

  it("Names calls back once when an agent of a watched name comes", () => {
    const names = new Names(1000, "own")
    let calls = 0
    names.watch("site", () => calls++)
    names.watch("site", () => calls++)()
    names.watch("other", () => calls++)
    names.add(agentOf(1, "a"))
    names.add(agentOf(1, "b"))
    expect(calls).toBe(1)
  })
})
