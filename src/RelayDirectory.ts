/**
 * The directory of a relay with several nodes: which nodes have agents of a name. The data of streams never passes the
 * directory.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { judge, type Name } from "./relay/ruling.js"
import { sweep } from "./relay/sweep.js"

/**
 * A node, and the URL at which other nodes dial it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Node {
  readonly id: string
  readonly url: string
}

/**
 * A node that has agents of a name.
 *
 * @since 0.2.0
 * @category models
 */
export interface Owner extends Node {
  readonly agents: number
}

/**
 * The nodes that have agents of a name. The epoch is the time of the token that rules the name.
 *
 * @since 0.2.0
 * @category models
 */
export interface Entry {
  readonly epoch: number
  readonly nodes: ReadonlyArray<Owner>
}

/**
 * A connection of an agent that has a name, or asks for one.
 *
 * @since 0.2.0
 * @category models
 */
export interface Claim {
  readonly name: string
  /** The time of its token. The newest token of a name rules. */
  readonly epoch: number
  /** The id of its node. */
  readonly node: string
  /** The id of the connection, which no other one has. */
  readonly agent: string
  /** Which program the agent is, where the agent tells. */
  readonly program?: string | undefined
  /** How long ago the agent connected. The directory compares agents by its own clock. */
  readonly ageMillis: number
  /** The most agents that the name may have. */
  readonly maxAgents: number
}

/**
 * What becomes of a claim. An agent is superseded where a newer token rules the name, or a later connection of the same
 * program has come. An agent that does not tell its program is superseded by each later one. Of agents that connected
 * within 2 s of each other, the last claim counts as the later one, since claims take time on their way.
 *
 * @since 0.2.0
 * @category models
 */
export type Ruling = "admitted" | "superseded" | "full"

/**
 * News of a name. Without a name, news may have been missed.
 *
 * @since 0.2.0
 * @category models
 */
export interface Change extends Partial<Entry> {
  readonly name?: string | undefined
  /** The ids of the agents that were superseded. */
  readonly superseded?: ReadonlyArray<string> | undefined
}

/**
 * Units of a budget that a teller has used. The teller also tells its total so far. So the directory counts a unit
 * once, where the answer to an earlier debt is lost and the teller does not know whether it was counted.
 *
 * @since 0.2.0
 * @category models
 */
export interface Debt {
  /** The id of the teller, which no other one has. */
  readonly teller: string
  /** The units that the teller has used in all, which never decrease. */
  readonly total: number
  /** Those of them that no answer has confirmed. */
  readonly units: number
}

/**
 * The directory cannot be reached, or does not work.
 *
 * @since 0.2.0
 * @category errors
 */
export class DirectoryFailure extends Data.TaggedError("DirectoryFailure")<{ readonly cause: unknown }> {
  override get message(): string {
    return `cannot ask the directory: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/**
 * A directory of names. A node that does not renew in time is forgotten, with all its names: so the work of staying
 * known is one operation for each node, for any number of names.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /**
   * Keeps a node known for so many milliseconds. Completes with false when the directory did not know the node: then
   * the node claims its names again.
   */
  readonly renew: (node: Node, ttlMillis: number) => Effect.Effect<boolean, DirectoryFailure>
  /** Forgets a node at once. */
  readonly leave: (id: string) => Effect.Effect<void, DirectoryFailure>
  /** Adds an agent to a name, and removes those that the agent supersedes. A claim may be repeated. */
  readonly claim: (claim: Claim) => Effect.Effect<Ruling, DirectoryFailure>
  /** Completes with what would become of a claim, and changes nothing. */
  readonly weigh: (claim: Claim) => Effect.Effect<Ruling, DirectoryFailure>
  /** Removes an agent from a name. */
  readonly release: (claim: Pick<Claim, "agent" | "name">) => Effect.Effect<void, DirectoryFailure>
  /**
   * Completes with the nodes of a name that are known. A name whose last node has left or died is known for some
   * seconds more, without nodes: its agent may be about to dial another node.
   */
  readonly find: (name: string) => Effect.Effect<Option.Option<Entry>, DirectoryFailure>
  /**
   * Takes up to so many units from a budget that all nodes share. The budget has so many units a second, and at most a
   * second's worth, or one unit. Completes with the number of whole units that were taken.
   */
  readonly take: (budget: string, units: number, perSecond: number) => Effect.Effect<number, DirectoryFailure>
  /**
   * Takes units from a budget even where it has fewer. Completes with what is left, which may be below zero. A debt may
   * be repeated for a minute.
   */
  readonly owe: (budget: string, debt: Debt, perSecond: number) => Effect.Effect<number, DirectoryFailure>
  /** Completes with all nodes that are known. */
  readonly nodes: Effect.Effect<ReadonlyArray<Node>, DirectoryFailure>
  /** Emits what claims and releases have changed, from the moment of subscription on. Never ends. */
  readonly changes: Stream.Stream<Change>
}

/**
 * The directory that the nodes of a relay share.
 *
 * @since 0.2.0
 * @category context
 */
export class RelayDirectory extends Context.Tag("effect-wsmux/RelayDirectory")<RelayDirectory, Service>() {}

/** How long a name stays known after its last node in milliseconds: longer than a request waits for an agent. */
const memoryMillis = 15_000

const unknown = { epoch: 0, agents: [] }

/** How long the total of a teller is known in milliseconds. */
const tellerMillis = 60_000

/** A budget as it was at a time in milliseconds. */
interface Budget {
  left: number
  readonly most: number
  readonly perSecond: number
  readonly at: number
}

const leftOf = ({ at, left, most, perSecond }: Budget, now: number): number =>
  Math.min(most, left + (now - at) * perSecond / 1000)

/**
 * Makes a directory in memory, for nodes of one process.
 *
 * @since 0.2.0
 * @category constructors
 */
export const makeMemory: Effect.Effect<Service> = Effect.gen(function*() {
  const clock = yield* Effect.clock
  const now = () => clock.unsafeCurrentTimeMillis()
  const changes = yield* PubSub.unbounded<Change>()
  const alive = new Map<string, { readonly url: string; readonly until: number }>()
  const names = new Map<string, Name>()
  const sweepNames = sweep(names, ({ until }) => until <= now())
  const budgets = new Map<string, Budget>()
  const sweepBudgets = sweep(budgets, (budget) => leftOf(budget, now()) >= budget.most)
  const totals = new Map<string, { readonly total: number; readonly until: number }>()
  const sweepTotals = sweep(totals, ({ until }) => until <= now())
  /** Returns the units of a debt that are not counted yet, and counts them. */
  const uncounted = (budget: string, { teller, total, units }: Debt): number => {
    const key = JSON.stringify([budget, teller])
    const known = totals.get(key)
    const before = known !== undefined && known.until > now() ? known.total : total - units
    totals.set(key, { total: Math.max(before, total), until: now() + tellerMillis })
    sweepTotals()
    return Math.max(0, Math.min(units, total - before))
  }
  const refilled = (key: string, perSecond: number) => {
    const known = budgets.get(key)
    const most = Math.max(1, perSecond)
    const left = known === undefined ? most : leftOf({ ...known, most, perSecond }, now())
    const filled: Budget = { left, most, perSecond, at: now() }
    budgets.set(key, filled)
    return filled
  }
  const isAlive = (id: string) => (alive.get(id)?.until ?? -Infinity) > now()
  const livingOf = (name: string): Name | undefined => {
    const known = names.get(name)
    return known && { ...known, agents: known.agents.filter(({ node }) => isAlive(node)) }
  }
  const set = (name: string, epoch: number, agents: Name["agents"], superseded: ReadonlyArray<string>) => {
    names.set(name, { epoch, agents, until: agents.length === 0 ? now() + memoryMillis : Infinity })
    sweepNames()
    return PubSub.publish(changes, { name, epoch, nodes: ownersOf(agents), superseded })
  }
  const ownersOf = (agents: Name["agents"]): ReadonlyArray<Owner> =>
    [...new Set(agents.map(({ node }) => node))].filter(isAlive).sort().map((id) => ({
      id,
      url: alive.get(id)!.url,
      agents: agents.filter(({ node }) => node === id).length
    }))
  const judgeNow = (claim: Claim) => judge(claim, now() - claim.ageMillis, livingOf(claim.name) ?? unknown)
  return {
    renew: ({ id, url }, ttlMillis) =>
      Effect.sync(() => {
        const wasAlive = isAlive(id)
        alive.set(id, { url, until: now() + ttlMillis })
        return wasAlive
      }),
    leave: (id) => Effect.sync(() => void alive.delete(id)),
    claim: (claim) =>
      Effect.suspend(() => {
        const { ruling, others, superseded } = judgeNow(claim)
        if (ruling !== "admitted") return Effect.succeed(ruling)
        const { agent, ageMillis, epoch, name, node, program } = claim
        const agents = [...others, { id: agent, node, program, at: now() - ageMillis }]
        return Effect.as(set(name, epoch, agents, superseded), ruling)
      }),
    weigh: (claim) => Effect.sync(() => judgeNow(claim).ruling),
    release: ({ agent, name }) =>
      Effect.suspend(() => {
        // the node of the agent may be late to renew, and must not bring the agent back then
        if (names.get(name)?.agents.some(({ id }) => id === agent) !== true) return Effect.void
        const { agents, epoch } = livingOf(name)!
        return set(name, epoch, agents.filter(({ id }) => id !== agent), [])
      }),
    find: (name) =>
      Effect.sync(() => {
        const known = livingOf(name)
        if (known === undefined || known.until <= now()) return Option.none()
        if (known.agents.length === 0 && known.until === Infinity) {
          names.set(name, { ...known, until: now() + memoryMillis })
        }
        return Option.some({ epoch: known.epoch, nodes: ownersOf(known.agents) })
      }),
    take: (budget, units, perSecond) =>
      Effect.sync(() => {
        const filled = refilled(budget, perSecond)
        const taken = Math.max(0, Math.min(units, Math.floor(filled.left)))
        filled.left -= taken
        sweepBudgets()
        return taken
      }),
    owe: (budget, debt, perSecond) =>
      Effect.sync(() => {
        const filled = refilled(budget, perSecond)
        if (debt.units > 0) filled.left -= uncounted(budget, debt)
        sweepBudgets()
        return filled.left
      }),
    nodes: Effect.sync(() => [...alive].filter(([id]) => isAlive(id)).map(([id, { url }]) => ({ id, url }))),
    changes: Stream.fromPubSub(changes)
  }
})

/**
 * Provides a directory in memory, for nodes of one process.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerMemory: Layer.Layer<RelayDirectory> = Layer.effect(RelayDirectory, makeMemory)
