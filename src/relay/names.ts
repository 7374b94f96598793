import type { Owner } from "../RelayDirectory.js"
import type { Session } from "../Session.js"
import { takesPlace } from "./ruling.js"

/** An agent that has dialled this node. */
export interface Agent {
  /** The id of its connection, which no other one has. */
  readonly id: string
  readonly name: string
  /** The time in seconds at which its token was made. The newest token rules its name. */
  readonly epoch: number
  /** Which program this is, where the agent tells. Agents of one name and token that tell share the load. */
  readonly program: string | undefined
  /** The monotonic time in milliseconds at which the agent connected. */
  readonly at: number
  readonly session: Session
  /** The requests and streams that run through the agent. */
  streams: number
  /** Whether the agent takes no new streams. */
  isLeaving: boolean
  /** Ends the agent: another one has its place. Streams that run may come to their end. */
  readonly supersede: (reason?: string) => void
}

interface Name {
  epoch: number
  agents: Array<Agent>
  /** Grows with each pick, so that agents with equally many streams take turns. */
  turn: number
  /** The nodes that have agents of the name, as the directory told last. */
  owners: ReadonlyArray<Pick<Owner, "agents" | "id">>
}

/** The agents of this node by their names. */
export class Names {
  readonly #names = new Map<string, Name>()
  readonly #waiting = new Map<string, Set<() => void>>()
  /** When the last agent of a name has left, oldest first. */
  readonly #left = new Map<string, number>()
  readonly #memoryMillis: number
  readonly #node: string

  /**
   * @param memoryMillis how long a name counts as known after its last agent has left
   * @param node the id of this node
   */
  constructor(memoryMillis: number, node: string) {
    this.#memoryMillis = memoryMillis
    this.#node = node
  }

  /** The number of agents, and of names. */
  get size(): { readonly agents: number; readonly names: number } {
    let agents = 0
    for (const name of this.#names.values()) agents += name.agents.length
    return { agents, names: this.#names.size }
  }

  [Symbol.iterator](): IterableIterator<[string, { readonly epoch: number; readonly agents: ReadonlyArray<Agent> }]> {
    return this.#names.entries()
  }

  /** The time of the token that rules a name here; undefined for a name without agents. */
  epochOf(name: string): number | undefined {
    return this.#names.get(name)?.epoch
  }

  /** The number of agents of a name. */
  count(name: string): number {
    return this.#names.get(name)?.agents.length ?? 0
  }

  /** Whether an agent is here, and has not been superseded. */
  has(agent: Agent): boolean {
    return this.#names.get(agent.name)?.agents.includes(agent) === true
  }

  /** The number of agents that stay beside a further one. */
  countBeside(agent: Pick<Agent, "epoch" | "name" | "program">): number {
    return (this.#names.get(agent.name)?.agents ?? []).filter((other) => !takesPlace(agent, other, true)).length
  }

  /** The streams that run through the agents of a name. */
  streamsOf(name: string): number {
    return (this.#names.get(name)?.agents ?? []).reduce((sum, { streams }) => sum + streams, 0)
  }

  /** The directory has told which nodes have agents of a name. */
  setOwners(name: string, owners: Name["owners"]): void {
    const known = this.#names.get(name)
    if (known !== undefined) known.owners = owners
  }

  /**
   * The part of a limit on a name that this node has: the part of the agents that are here. All parts together are the
   * limit. A node of which the directory does not know has the whole limit.
   */
  partOf(name: string, limit: number): number {
    const owners = this.#names.get(name)?.owners ?? []
    const at = owners.findIndex(({ id }) => id === this.#node)
    if (at < 0) return limit
    const sum = (owners: Name["owners"]) => owners.reduce((sum, { agents }) => sum + agents, 0)
    const [before, own, all] = [sum(owners.slice(0, at)), owners[at]!.agents, sum(owners)]
    return Math.floor(limit * (before + own) / all) - Math.floor(limit * before / all)
  }

  /**
   * Adds an agent, and supersedes those whose place the agent takes: agents with an older token, an earlier connection
   * of the same program, and agents that do not tell which program they are. Go's clients do not: such a client that
   * dials again has lost its connection, which may look alive here until the keep-alive ends it.
   *
   * Returns false, and adds nothing, when a newer token rules the name.
   */
  add(agent: Agent): boolean {
    const name = this.#names.get(agent.name) ?? { epoch: agent.epoch, agents: [], turn: 0, owners: [] }
    if (agent.epoch < name.epoch) return false
    this.#names.set(agent.name, name)
    this.#left.delete(agent.name)
    name.epoch = agent.epoch
    const superseded = name.agents.filter((other) => takesPlace(agent, other, true))
    name.agents = [...name.agents.filter((other) => !superseded.includes(other)), agent]
    for (const other of superseded) other.supersede()
    this.#wake(agent.name)
    return true
  }

  /**
   * Removes an agent. Returns whether it was the last one of its name.
   *
   * @param now the monotonic time in milliseconds
   */
  remove(agent: Agent, now: number): boolean {
    const name = this.#names.get(agent.name)
    if (name === undefined || !name.agents.includes(agent)) return false
    name.agents = name.agents.filter((other) => other !== agent)
    if (name.agents.length > 0) return false
    this.#names.delete(agent.name)
    this.#left.delete(agent.name) // so that it becomes the newest
    this.#left.set(agent.name, now)
    for (const [other, at] of this.#left) {
      if (now - at < this.#memoryMillis) break
      this.#left.delete(other)
    }
    return true
  }

  /** Whether the last agent of a name has left a short time ago, and may come back. */
  hasJustLeft(name: string, now: number): boolean {
    const at = this.#left.get(name)
    return at !== undefined && now - at < this.#memoryMillis
  }

  /** Supersedes the agents of a name that have an older token, or one of these ids. */
  supersede(name: string, epoch: number, ids: ReadonlyArray<string>, now: number): void {
    const agents = this.#names.get(name)?.agents ?? []
    for (const agent of agents.filter((agent) => agent.epoch < epoch || ids.includes(agent.id))) {
      this.remove(agent, now)
      agent.supersede()
    }
  }

  /** Returns the agent with the fewest streams; undefined where none takes streams. */
  pick(asked: string, epoch?: number): Agent | undefined {
    const name = this.#names.get(asked)
    if (name === undefined || (epoch !== undefined && name.epoch !== epoch)) return undefined
    const { agents } = name
    const first = name.turn++ % Math.max(agents.length, 1)
    let best: Agent | undefined
    for (let i = 0; i < agents.length; i++) {
      const agent = agents[(first + i) % agents.length]!
      if (!agent.isLeaving && (best === undefined || agent.streams < best.streams)) best = agent
    }
    return best
  }

  /** Calls back once when something about the name may have changed. Returns a function that cancels that. */
  watch(name: string, callback: () => void): () => void {
    const callbacks = this.#waiting.get(name) ?? new Set()
    this.#waiting.set(name, callbacks.add(callback))
    return () => {
      callbacks.delete(callback)
      if (callbacks.size === 0 && this.#waiting.get(name) === callbacks) this.#waiting.delete(name)
    }
  }

  #wake(name: string): void {
    const callbacks = this.#waiting.get(name) ?? []
    this.#waiting.delete(name)
    for (const callback of callbacks) callback()
  }

  /** Tells those who wait for a name that the directory has news of it. */
  changed(name: string): void {
    this.#wake(name)
  }
}
