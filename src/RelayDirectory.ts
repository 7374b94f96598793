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
 * The nodes that have agents of a name. The epoch is the time of the token that rules the name.
 *
 * @since 0.2.0
 * @category models
 */
export interface Entry {
  readonly epoch: number
  readonly nodes: ReadonlyArray<Node>
}

/**
 * News of a name. Without a name, news may have been missed.
 *
 * @since 0.2.0
 * @category models
 */
export interface Change {
  readonly name?: string | undefined
  readonly epoch?: number | undefined
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
  /**
   * Adds a node to a name, unless a newer epoch rules it. Nodes with an older epoch lose the name. Completes with the
   * epoch that rules.
   */
  readonly claim: (name: string, epoch: number, id: string) => Effect.Effect<number, DirectoryFailure>
  /** Removes a node from a name, where that epoch rules it. */
  readonly release: (name: string, epoch: number, id: string) => Effect.Effect<void, DirectoryFailure>
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
  /** Takes units from a budget even where it has fewer. Completes with what is left, which may be below zero. */
  readonly owe: (budget: string, units: number, perSecond: number) => Effect.Effect<number, DirectoryFailure>
  /** Completes with all nodes that are known. */
  readonly nodes: Effect.Effect<ReadonlyArray<Node>, DirectoryFailure>
  /** Emits claims and releases from the moment of subscription on. Never ends. */
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
  interface Name {
    readonly epoch: number
    readonly ids: ReadonlySet<string>
    /** When a name without nodes is forgotten. */
    readonly until: number
  }
  const names = new Map<string, Name>()
  const sweepNames = sweep(names, ({ until }) => until <= now())
  const budgets = new Map<string, Budget>()
  const sweepBudgets = sweep(budgets, (budget) => leftOf(budget, now()) >= budget.most)
  const refilled = (key: string, perSecond: number) => {
    const known = budgets.get(key)
    const most = Math.max(1, perSecond)
    const left = known === undefined ? most : leftOf({ ...known, most, perSecond }, now())
    const filled: Budget = { left, most, perSecond, at: now() }
    budgets.set(key, filled)
    return filled
  }
  const isAlive = (id: string) => (alive.get(id)?.until ?? -Infinity) > now()
  const publish = (change: Change) => PubSub.publish(changes, change)
  return {
    renew: ({ id, url }, ttlMillis) =>
      Effect.sync(() => {
        const wasAlive = isAlive(id)
        alive.set(id, { url, until: now() + ttlMillis })
        return wasAlive
      }),
    leave: (id) => Effect.sync(() => void alive.delete(id)),
    claim: (name, epoch, id) =>
      Effect.suspend(() => {
        const known = names.get(name)
        const ids = [...known?.ids ?? []].filter(isAlive)
        if (known !== undefined && ids.length > 0 && known.epoch > epoch) return Effect.succeed(known.epoch)
        names.set(name, { epoch, ids: new Set([...(known?.epoch === epoch ? ids : []), id]), until: Infinity })
        return Effect.as(publish({ name, epoch }), epoch)
      }),
    release: (name, epoch, id) =>
      Effect.suspend(() => {
        const known = names.get(name)
        if (known?.epoch !== epoch) return Effect.void
        const ids = new Set(known.ids)
        ids.delete(id)
        names.set(name, { epoch, ids, until: ids.size === 0 ? now() + memoryMillis : Infinity })
        sweepNames()
        return publish({ name, epoch })
      }),
    find: (name) =>
      Effect.sync(() => {
        const known = names.get(name)
        if (known === undefined || known.until <= now()) return Option.none()
        const nodes = [...known.ids].filter(isAlive).map((id) => ({ id, url: alive.get(id)!.url }))
        if (nodes.length === 0 && known.ids.size > 0) {
          names.set(name, { epoch: known.epoch, ids: new Set(), until: now() + memoryMillis })
        }
        return Option.some({ epoch: known.epoch, nodes })
      }),
    take: (budget, units, perSecond) =>
      Effect.sync(() => {
        const filled = refilled(budget, perSecond)
        const taken = Math.max(0, Math.min(units, Math.floor(filled.left)))
        filled.left -= taken
        sweepBudgets()
        return taken
      }),
    owe: (budget, units, perSecond) =>
      Effect.sync(() => {
        const filled = refilled(budget, perSecond)
        filled.left -= units
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
