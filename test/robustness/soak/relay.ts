import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { redis } from "../../e2e/databases/servers.js"
import { Child } from "../../support/child.js"
import { freePort } from "../../support/freePort.js"
import { megabytes } from "./judge.js"
import type { Options } from "./options.js"
import type { ClientsQuestion, ClientsReport } from "./relayClients.js"
import type { NodeQuestion, NodeReport } from "./relayNode.js"
import { random } from "./tasks.js"

/** How long a node is away that was killed or has drained, in milliseconds. */
const absence = 1000

/** How long the load goes on between two drains, in milliseconds. */
const between = 3000

/** The growth of a process that counts as level: the engine compiles code, and the load is not quite even. */
const level = 15e6

/**
 * Kills one of three nodes after each interval under load, and then drains one after the other. Returns whether each
 * request was answered or failed in time, no request failed in the drains, and memory is level.
 */
export const soakRelay = async (options: Options): Promise<boolean> => {
  const program = fileURLToPath(import.meta.url)
  const choose = random(options.seed)
  const scope = await Effect.runPromise(Scope.make())
  const database = await Effect.runPromise(Scope.extend(redis, scope))
  const ports = await Effect.runPromise(Effect.all([freePort, freePort, freePort]))
  const startNode = async (port: number) => {
    const node = new Child(program, ["relay-node", JSON.stringify({ port, redis: database.port })])
    await node.ask<true>({ ask: "ready" } satisfies NodeQuestion)
    return node
  }
  const nodes = await Promise.all(ports.map(startNode))
  const urls = (scheme: string) => ports.map((port) => `${scheme}://127.0.0.1:${port}`)
  const agents = new Child(program, ["relay-agents", JSON.stringify({ agents: options.agents, urls: urls("ws") })])
  const { seed, streams } = options
  const load = { agents: options.agents, streams, urls: urls("http"), longest: options.every * 1000, seed }
  const connected = async () =>
    (await Promise.all(nodes.map((node) => node.ask<NodeReport>({ ask: "report" })))).reduce((n, r) => n + r.agents, 0)
  while (await connected() < options.agents) await setTimeout(50)
  const clients = new Child(program, ["relay-clients", JSON.stringify(load)])
  const faults: Array<string> = []
  const tell = async (question: ClientsQuestion) => {
    const report = await clients.ask<ClientsReport>(question)
    faults.push(...report.mismatches)
    return report
  }
  /** The memory of each process before each kill: of the node that is about to die, the agents and the clients. */
  const used = { node: [] as Array<number>, agents: [] as Array<number>, clients: [] as Array<number> }
  const measure = async (node: Child) => {
    const sum = ({ arrayBuffers, heap }: NodeReport | ClientsReport) => heap + arrayBuffers
    used.node.push(sum(await node.ask<NodeReport>({ ask: "report" })))
    used.agents.push(sum(await agents.ask<NodeReport>({ ask: "report" })))
    const report = await tell({ ask: "report" })
    used.clients.push(sum(report))
    return report
  }

  try {
    const end = performance.now() + options.minutes * 60_000
    let kills = 0
    for (let at = 0; performance.now() < end; at = (at + 1) % 3) {
      await setTimeout(options.every * 1000 * (0.9 + 0.2 * choose()))
      const report = await measure(nodes[at]!)
      await tell({ ask: "killing", node: at })
      await nodes[at]!.kill("SIGKILL")
      kills++
      console.log(`kill ${kills}: ${lineOf(report)}, node ${megabytes(used.node.at(-1)!)} MB`)
      await setTimeout(absence)
      nodes[at] = await startNode(ports[at]!)
    }
    await setTimeout(12_000) // until each request that met the last kill has failed
    const before = await tell({ ask: "gentle" })
    console.log(`${kills} kills: ${lineOf(before)}`)

    for (const [at, port] of ports.entries()) {
      await setTimeout(between)
      const began = performance.now()
      await nodes[at]!.ask<true>({ ask: "drain" } satisfies NodeQuestion)
      await nodes[at]!.stop()
      console.log(`drain of node ${at}: ${((performance.now() - began) / 1000).toFixed(1)} s`)
      await setTimeout(absence)
      nodes[at] = await startNode(port)
    }
    await setTimeout(between)
    const after = await tell({ ask: "finish" })
    console.log(
      `3 drains: ${after.answered - before.answered} requests answered, ${sumOf(after) - sumOf(before)} failed`
    )
    if (after.running > 0) faults.push(`${after.running} requests have no end`)
    for (const [who, values] of Object.entries(used)) {
      console.log(`memory of ${who} before each kill: ${values.map(megabytes).join(", ")} MB`)
      // nodes are as old as the run when they are killed for the first time, and three intervals old from then on
      const settled = values.slice(Math.min(3, values.length - 1))
      if (settled.at(-1)! - settled[0]! > level) faults.push(`the memory of ${who} grows: ${settled.map(megabytes)}`)
    }
    for (const text of faults.slice(0, 20)) console.error(text)
    console.log(`${options.minutes.toFixed(1)} min, ${kills} kills, ${lineOf(after)}, ${faults.length} faults`)
    return faults.length === 0
  } finally {
    await Promise.all([clients, agents, ...nodes].map((process) => process.stop()))
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** The requests that failed. */
const sumOf = ({ lost, statuses }: ClientsReport): number =>
  Object.values(statuses).reduce((sum, count) => sum + count, lost)

const lineOf = ({ answered, lost, refused, running, slowest, statuses }: ClientsReport): string =>
  [
    `${answered} answered`,
    ...Object.entries(statuses).map(([status, count]) => `${count} with ${status}`),
    `${lost} lost`,
    `${refused} not accepted`,
    `${running} running`,
    `the slowest answer ${Math.round(slowest)} ms`
  ].join(", ")
