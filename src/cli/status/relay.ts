import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as RelayServer from "../../RelayServer.js"
import { version } from "../version.js"
import { bytes, span } from "./human.js"
import { maxListed } from "./status.js"
import { age, type Column, counted, table, wrap } from "./terminal.js"

/** What a node tells of itself, and what all nodes have together. */
const figures = {
  agents: Schema.Number,
  running: Schema.Number,
  requests: Schema.Number,
  bytesIn: Schema.Number,
  bytesOut: Schema.Number
}

/** A node of a relay. `told` is null where the node did not answer in time. */
export const NodeStatus = Schema.Struct({
  id: Schema.String,
  url: Schema.String,
  told: Schema.NullOr(Schema.Struct({
    startedAt: Schema.Number,
    draining: Schema.Boolean,
    names: Schema.Number,
    ...figures
  }))
})

export type NodeStatus = typeof NodeStatus.Type

/** A name, with its agents and streams at the nodes that tell the name among their busiest. */
export const NameStatus = Schema.Struct({
  name: Schema.String,
  agents: Schema.Number,
  streams: Schema.Number,
  /** The ids of its nodes. */
  nodes: Schema.Array(Schema.String)
})

export type NameStatus = typeof NameStatus.Type

/** The status of all nodes of a relay: the page, `wsmux status` and `/status.json` of each node show it. */
export const RelayStatus = Schema.Struct({
  command: Schema.Literal("relay"),
  version: Schema.String,
  address: Schema.String,
  ready: Schema.Boolean,
  readiness: Schema.String,
  at: Schema.Number,
  startedAt: Schema.Number,
  total: Schema.Struct(figures),
  /** The node that was asked comes first. */
  nodes: Schema.Array(NodeStatus),
  /** The names with the most streams, at most `maxListed`. */
  names: Schema.Array(NameStatus)
})

export type RelayStatus = typeof RelayStatus.Type

/** Gathers the status of all nodes. */
export const of = (relay: RelayServer.Service, address: string): Effect.Effect<RelayStatus> =>
  Effect.gen(function*() {
    const { isDirectoryAway, nodes } = yield* relay.nodes
    const { isDraining, startedAt } = yield* relay.snapshot
    const told = nodes.flatMap(({ snapshot }) => snapshot ?? [])
    const sum = (count: (snapshot: RelayServer.Snapshot) => number) => told.reduce((sum, one) => sum + count(one), 0)
    const silent = nodes.length - told.length
    const troubles = [
      ...isDirectoryAway ? ["the directory is away"] : [],
      ...silent > 0 ? [`${counted(silent, "node")} did not answer`] : []
    ]
    return {
      command: "relay",
      version,
      address,
      ready: !isDraining,
      readiness: [isDraining ? "draining" : "ready", ...troubles].join(", "),
      at: yield* Clock.currentTimeMillis,
      startedAt,
      total: {
        agents: sum(({ agents }) => agents),
        running: sum(({ running }) => running),
        requests: sum(({ requests }) => requests),
        bytesIn: sum(({ bytesIn }) => bytesIn),
        bytesOut: sum(({ bytesOut }) => bytesOut)
      },
      nodes: nodes.map(nodeStatus),
      names: namesOf(nodes)
    }
  })

const nodeStatus = ({ id, snapshot, url }: RelayServer.NodeReport): NodeStatus => {
  if (snapshot === undefined) return { id, url, told: null }
  const { isDraining, ...told } = snapshot
  return { id, url, told: { ...told, draining: isDraining } }
}

const namesOf = (nodes: ReadonlyArray<RelayServer.NodeReport>): ReadonlyArray<NameStatus> => {
  const names = new Map<string, NameStatus>()
  for (const { busiest, id } of nodes) {
    for (const { agents, name, streams } of busiest) {
      const known = names.get(name) ?? { name, agents: 0, streams: 0, nodes: [] }
      names.set(name, {
        name,
        agents: known.agents + agents,
        streams: known.streams + streams,
        nodes: [...known.nodes, id]
      })
    }
  }
  return [...names.values()].sort((a, b) => b.streams - a.streams || b.agents - a.agents).slice(0, maxListed)
}

/** Returns the status as plain text whose lines have at most 80 columns. */
export const render = ({ address, at, names, nodes, readiness, startedAt, total, version }: RelayStatus): string =>
  [
    ...wrap(`wsmux relay ${version} at ${address}: ${readiness}, for ${span(at - startedAt)}`),
    ...wrap(
      `${counted(nodes.length, "node")}, ${counted(total.agents, "agent")}, ` +
        `${counted(total.running, "request")} running of ${total.requests}; ` +
        `received ${bytes(total.bytesIn)}, sent ${bytes(total.bytesOut)}`
    ),
    ...table(nodeColumns(at), nodes),
    ...table(nameColumns, names)
  ].join("\n")

const number = (title: string, count: (told: NonNullable<NodeStatus["told"]>) => string): Column<NodeStatus> => ({
  title,
  text: ({ told }) => told === null ? "-" : count(told),
  isNumber: true
})

const nodeColumns = (at: number): ReadonlyArray<Column<NodeStatus>> => [
  { title: "NODE", text: ({ url }) => url, isCut: true },
  { title: "STATE", text: ({ told }) => told === null ? "no answer" : told.draining ? "draining" : "up" },
  number("AGE", ({ startedAt }) => age(at - startedAt)),
  number("AGENTS", ({ agents }) => String(agents)),
  number("NAMES", ({ names }) => String(names)),
  number("RUNNING", ({ running }) => String(running)),
  number("REQUESTS", ({ requests }) => String(requests))
]

const nameColumns: ReadonlyArray<Column<NameStatus>> = [
  { title: "NAME", text: ({ name }) => name, isCut: true },
  { title: "AGENTS", text: ({ agents }) => String(agents), isNumber: true },
  { title: "STREAMS", text: ({ streams }) => String(streams), isNumber: true },
  { title: "NODES", text: ({ nodes }) => nodes.join(" "), isCut: true }
]
