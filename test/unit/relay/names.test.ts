import { describe, expect, it } from "@effect/vitest"
import { type Agent, Names } from "effect-wsmux/relay/names"
import type { Session } from "effect-wsmux/Session"

/** An agent, whose session the names never use. */
const agentOf = (epoch: number, program: string | undefined, superseded: Array<Agent> = []): Agent => {
  const agent: Agent = {
    name: "site",
    epoch,
    program,
    session: {} as Session,
    streams: 0,
    isLeaving: false,
    supersede: () => superseded.push(agent)
  }
  return agent
}

describe("Names", () => {
  it("Names supersedes agents when a newer token, their own program or an untold one comes", () => {
    const names = new Names(1000)
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

  it("Names.pick takes turns among the least busy agents, and skips those that leave", () => {
    const names = new Names(1000)
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
    const names = new Names(1000)
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
    const names = new Names(1000)
    let calls = 0
    names.watch("site", () => calls++)
    names.watch("site", () => calls++)()
    names.watch("other", () => calls++)
    names.add(agentOf(1, "a"))
    names.add(agentOf(1, "b"))
    expect(calls).toBe(1)
  })
})
