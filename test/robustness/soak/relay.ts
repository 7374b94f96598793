import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { redis } from "../../e2e/databases/servers.js"
import { Child } from "../../support/child.js"
import { freePort } from "../../support/freePort.js"
import { Growth } from "./growth.js"
import type { Options } from "./options.js"
import type { ClientsQuestion, ClientsReport } from "./relayClients.js"
import type { NodeQuestion, NodeReport } from "./relayNode.js"
import { random } from "./tasks.js"

/** How long a node is away that was killed or has drained, in milliseconds. */
const absenceOf = ({ every }: Options): number => Math.min(1000, every * 250)

/** How long the load goes on between two drains, in milliseconds. */
const betweenOf = ({ every }: Options): number => Math.min(3000, every * 500)

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
    (await Promise.all(nodes.map((node) => node.ask<number>({ ask: "agents" })))).reduce((sum, count) => sum + count, 0)
  const untilConnected = async () => {
    while (await connected() < options.agents) await setTimeout(50)
  }
  await untilConnected()
  const clients = new Child(program, ["relay-clients", JSON.stringify(load)])
  const faults: Array<string> = []
  const tell = async (question: ClientsQuestion) => {
    const report = await clients.ask<ClientsReport>(question)
    faults.push(...report.mismatches)
    return report
  }
  const memory = new Growth(streams)
  /** Measures all processes before a kill. The nodes were killed in turn, so the one that is about to die is oldest. */
  const measure = async (at: number, kills: number) => {
    for (const [turn, age] of ["oldest", "middle", "youngest"].entries()) {
      const report = await nodes[(at + turn) % 3]!.ask<NodeReport>({ ask: "report" })
      // until each node has died once, the nodes are as old as the run
      if (kills >= 3) memory.add(`the ${age} node`, report)
    }
    memory.add("the agents", await agents.ask<NodeReport>({ ask: "report" }))
    const report = await tell({ ask: "report" })
    memory.add("the clients", report)
    return report
  }

  try {
    const kills = Math.max(1, Math.round(options.minutes * 60 / options.every))
    const began = performance.now()
    for (let kill = 0; kill < kills; kill++) {
      const at = kill % 3
      const beat = began + options.every * 1000 * (kill + 1 + 0.2 * (choose() - 0.5))
      await setTimeout(Math.max(0, beat - performance.now()))
      const report = await measure(at, kill)
      await tell({ ask: "killing", node: at })
      await nodes[at]!.kill("SIGKILL")
      console.log(`kill ${kill + 1}: ${lineOf(report)}`)
      await setTimeout(absenceOf(options))
      nodes[at] = await startNode(ports[at]!)
    }
    await untilConnected()
    const before = await tell({ ask: "gentle" })
    console.log(`${kills} kills: ${lineOf(before)}`)

    for (const [at, port] of ports.entries()) {
      await setTimeout(betweenOf(options))
      const asked = performance.now()
      await nodes[at]!.ask<true>({ ask: "drain" } satisfies NodeQuestion)
      await nodes[at]!.stop()
      console.log(`drain of node ${at}: ${((performance.now() - asked) / 1000).toFixed(1)} s`)
      await setTimeout(absenceOf(options))
      nodes[at] = await startNode(port)
    }
    await setTimeout(betweenOf(options))
    const after = await tell({ ask: "finish" })
    console.log(`3 drains: ${after.answered - before.answered} requests answered, ${after.failed} failed`)
    if (after.running > 0) faults.push(`${after.running} requests have no end`)
    const { faults: growths, lines } = memory.judge()
    for (const text of lines) console.log(text)
    faults.push(...growths)
    for (const text of faults.slice(0, 20)) console.error(text)
    console.log(`${options.minutes.toFixed(1)} min, ${kills} kills, ${lineOf(after)}, ${faults.length} faults`)
    return faults.length === 0
  } finally {
    await Promise.all([clients, agents, ...nodes].map((process) => process.stop()))
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const lineOf = ({ answered, lost, refused, running, slowest, statuses }: ClientsReport): string =>
  [
    `${answered} answered`,
    ...Object.entries(statuses).map(([status, count]) => `${count} with ${status}`),
    `${lost} lost`,
    `${refused} not accepted`,
    `${running} running`,
    `the slowest answer ${Math.round(slowest)} ms`
  ].join(", ")
