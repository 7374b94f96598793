import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Change, Claim, DirectoryFailure, Node, Ruling, Service } from "../RelayDirectory.js"
import type { Agent, Names } from "./names.js"

/** Keeps the directory informed of a node and its agents, through times in which the directory is away. */
export class Membership {
  readonly #directory: Service
  readonly #node: Node
  readonly #names: Names
  readonly #maxAgents: number
  readonly #now: () => number
  /** When each agent was claimed at last. */
  #claimed = new WeakMap<Agent, number>()
  /** Agents that are released, and those of them of which the directory does not know yet. */
  readonly #released = new WeakSet<Agent>()
  readonly #left = new Set<Agent>()

  constructor(directory: Service, node: Node, names: Names, maxAgents: number, now: () => number) {
    this.#directory = directory
    this.#node = node
    this.#names = names
    this.#maxAgents = maxAgents
    this.#now = now
  }

  /** Runs until the scope closes: renews the node, repeats what has failed, and hears of other nodes. */
  start(ttlMillis: number, onChange: (change: Change) => void): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen(this, function*() {
      const hear = (change: Change) => {
        const { epoch = 0, name, nodes = [], superseded = [] } = change
        if (name === undefined) {
          this.#claimed = new WeakMap() // an agent here may have been superseded meanwhile
        } else {
          this.#names.supersede(name, epoch, superseded, this.#now())
          if (this.#names.epochOf(name) === epoch) this.#names.setOwners(name, nodes)
        }
        onChange(change)
        if (change.name !== undefined) this.#names.changed(change.name)
      }
      yield* Effect.forkScoped(Stream.runForEach(this.#directory.changes, (change) => Effect.sync(() => hear(change))))
      let isAway = false
      const told = new Set<string>() // the causes since the directory is away
      const tick = Effect.gen(this, function*() {
        const known = yield* this.#directory.renew(this.#node, ttlMillis)
        if (!known) this.#claimed = new WeakMap()
        yield* Effect.forEach(this.#left, (agent) => this.#release(agent), { concurrency: 16 })
        yield* Effect.forEach(this.#unclaimed(), (agent) => this.#claim(agent), { concurrency: 16 })
        if (isAway) yield* Effect.logInfo("the directory of names is back")
        isAway = false
        told.clear()
      }).pipe(
        Effect.catchAll((failure) => {
          isAway = true
          if (told.has(failure.message)) return Effect.void
          told.add(failure.message)
          return Effect.logWarning(failure.message)
        })
      )
      yield* tick
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.suspend(() =>
            Effect.zipRight(Effect.sleep(isAway ? Math.min(ttlMillis / 3, againMillis) : ttlMillis / 3), tick)
          )
        )
      )
      yield* Effect.addFinalizer(() => this.leave)
    })
  }

  /** Forgets the node: its requests go to others from now on. */
  get leave(): Effect.Effect<void> {
    return Effect.ignore(this.#directory.leave(this.#node.id))
  }

  /**
   * Tells what would become of an agent that dials now. Without an answer in time, the agent may come, and its claim
   * tells the rest.
   */
  weigh(agent: Pick<Agent, "epoch" | "name" | "program">): Effect.Effect<Ruling> {
    return this.#directory.weigh(this.#claimOf({ ...agent, id: "", at: this.#now() })).pipe(
      Effect.timeout(patienceMillis),
      Effect.orElseSucceed(() => "admitted" as const)
    )
  }

  /** An agent has come. A claim that fails is repeated. */
  claim(agent: Agent): Effect.Effect<void> {
    return Effect.ignore(this.#claim(agent))
  }

  /** An agent takes no new streams, or has left. A release that fails is repeated. A second one does nothing. */
  release(agent: Agent): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#released.has(agent)) return Effect.void
      this.#released.add(agent)
      this.#left.add(agent)
      return Effect.ignore(this.#release(agent))
    })
  }

  #claim(agent: Agent): Effect.Effect<void, DirectoryFailure> {
    const stays = () => this.#names.has(agent) && !this.#released.has(agent)
    return Effect.suspend(() =>
      !stays() ? Effect.void : Effect.flatMap(this.#directory.claim(this.#claimOf(agent)), (ruling) => {
        if (ruling === "admitted") {
          this.#claimed.set(agent, this.#now())
          if (stays()) return Effect.void
          this.#left.add(agent) // meanwhile
          return this.#release(agent)
        }
        this.#names.remove(agent, this.#now())
        agent.supersede(ruling === "full" ? "the name has too many agents" : undefined)
        return Effect.void
      })
    )
  }

  #claimOf({ at, epoch, id, name, program }: Pick<Agent, "at" | "epoch" | "id" | "name" | "program">): Claim {
    const ageMillis = this.#now() - at
    return { name, epoch, node: this.#node.id, agent: id, program, ageMillis, maxAgents: this.#maxAgents }
  }

  #release(agent: Agent): Effect.Effect<void, DirectoryFailure> {
    const { id, name } = agent
    return Effect.map(this.#directory.release({ name, agent: id }), () => void this.#left.delete(agent))
  }

  /** The agents of this node that the directory may not know. */
  #unclaimed(): ReadonlyArray<Agent> {
    const isUnclaimed = (agent: Agent) => this.#now() - (this.#claimed.get(agent) ?? -Infinity) >= claimAgainMillis
    return [...this.#names].flatMap(([, { agents }]) => agents.filter(isUnclaimed))
  }
}

/** How long an agent that dials waits for the directory. */
const patienceMillis = 250

/** How soon a directory that is away is asked again. */
const againMillis = 1000

/** Half of the day for which a directory keeps a name. */
const claimAgainMillis = 12 * 3600 * 1000
