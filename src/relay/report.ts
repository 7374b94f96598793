import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { DirectoryFailure, Node, Service } from "../RelayDirectory.js"
import type { Unanswered } from "./failure.js"
import type { Names } from "./names.js"

/** A name at one node. */
interface Busy {
  readonly name: string
  readonly agents: number
  readonly streams: number
}

/** The report of a node about itself. The values of the snapshot are numbers and flags. */
interface Told<S> {
  readonly snapshot: S
  readonly busiest: ReadonlyArray<Busy>
}

/** A node, with its report where it has answered. */
interface Report<S> extends Node {
  readonly snapshot: S | undefined
  readonly busiest: ReadonlyArray<Busy>
}

interface Parts<S> {
  readonly node: Node
  readonly own: Effect.Effect<Told<S>>
  /** The directory, and how to ask another node. Undefined for a single node. */
  readonly others: {
    readonly directory: Service
    readonly ask: (node: Node) => Effect.Effect<string, Unanswered>
  } | undefined
}

/**
 * Returns an effect that asks all nodes at once. A node that does not answer in time has no snapshot. While the
 * directory is away, the nodes are those that it told last.
 */
export const gather = <S extends object>(
  { node, others, own }: Parts<S>
): Effect.Effect<{ readonly nodes: ReadonlyArray<Report<S>>; readonly isDirectoryAway: boolean }> => {
  let known: ReadonlyArray<Node> = []
  const ofOther = (own: Told<S>, other: Node, ask: Effect.Effect<string, Unanswered>): Effect.Effect<Report<S>> =>
    ask.pipe(
      Effect.map((text) => decode(text, own)),
      Effect.timeoutTo({ duration: patience, onSuccess: (told) => told, onTimeout: () => undefined }),
      Effect.orElseSucceed(() => undefined),
      Effect.map((told) => ({ ...other, snapshot: told?.snapshot, busiest: told?.busiest ?? [] }))
    )
  return Effect.gen(function*() {
    const told = yield* own
    const ownReport = { ...node, ...told }
    if (others === undefined) return { nodes: [ownReport], isDirectoryAway: false }
    const found = yield* Effect.either(timely(others.directory.nodes))
    if (found._tag === "Right") known = found.right.filter(({ id }) => id !== node.id)
    const reports = yield* Effect.forEach(known, (other) => ofOther(told, other, others.ask(other)), {
      concurrency: "unbounded"
    })
    return { nodes: [ownReport, ...reports], isDirectoryAway: found._tag === "Left" }
  })
}

/** How long a node may take to answer. The page is asked for each second, and its reader waits. */
const patience = Duration.seconds(2)

const timely = <A>(effect: Effect.Effect<A, DirectoryFailure>) =>
  Effect.timeoutFail(effect, { duration: patience, onTimeout: () => "the directory is silent" })

/** Names that a node tells, those with the most streams first. */
export const busiest = (names: Names): ReadonlyArray<Busy> =>
  [...names]
    .map(([name, { agents }]) => ({ name, agents: agents.length, streams: names.streamsOf(name) }))
    .sort((a, b) => b.streams - a.streams || b.agents - a.agents)
    .slice(0, maxNames)

/** A page with more names is too long to read. */
const maxNames = 100

/** The most bytes of an answer that are read: a node tells names of 256 characters at most. */
export const maxAnswer = 64 * 1024

export const encode = <S>(told: Told<S>): Uint8Array => Buffer.from(JSON.stringify(told))

/** A node of another version may tell something else, which counts as no answer. */
const decode = <S extends object>(text: string, own: Told<S>): Told<S> | undefined => {
  const { busiest, snapshot } = parse(text)
  const expected = Object.entries(own.snapshot)
  if (!isRecord(snapshot) || !Array.isArray(busiest)) return undefined
  if (!expected.every(([key, value]) => typeof snapshot[key] === typeof value)) return undefined
  return {
    snapshot: Object.fromEntries(expected.map(([key]) => [key, snapshot[key]])) as S,
    busiest: busiest.filter(isBusy).map(({ agents, name, streams }) => ({ name, agents, streams }))
  }
}

const isBusy = (value: unknown): value is Busy =>
  isRecord(value) && typeof value.name === "string" && Number.isFinite(value.agents) && Number.isFinite(value.streams)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const parse = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : {}
  } catch {
    return {}
  }
}
