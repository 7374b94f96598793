/**
 * `npm run soak` runs clients and a server in processes of their own behind a bad network, for a number of minutes.
 */
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Memory } from "../../support/answering.js"
import { Child } from "../../support/child.js"
import { client } from "./client.js"
import { judge, line, megabytes, type Sample } from "./judge.js"
import { type Options, parse, usage } from "./options.js"
import { type Fault, makeProxy } from "./proxy.js"
import { soakRelay } from "./relay.js"
import { relayClients } from "./relayClients.js"
import { relayAgents, relayNode } from "./relayNode.js"
import { soakResumed } from "./resume.js"
import { resumedClient } from "./resumedClient.js"
import { resumingServer } from "./resumingServer.js"
import { server } from "./server.js"
import { random } from "./tasks.js"

export interface Question {
  readonly ask: "port" | "report" | "finish"
}

export interface Report extends Memory {
  readonly streams: number
  readonly bytes: number
  readonly broken: number
  /** The faults since the last report. */
  readonly mismatches: ReadonlyArray<string>
  /** Resources that must be gone at the end: sessions of the server, sockets of a client. */
  readonly left: number
}

/** The interval of memory samples in milliseconds, long enough that collections do not become the load. */
const interval = (minutes: number): number => Math.min(20_000, Math.max(5000, minutes * 2000))

const soak = async (options: Options): Promise<boolean> => {
  const program = fileURLToPath(import.meta.url)
  const choose = random(options.seed)
  const there = new Child(program, ["server"])
  const { port } = await there.ask<{ readonly port: number }>({ ask: "port" })
  const proxy = await makeProxy(port)
  const clients = Array.from({ length: options.clients }, (_, i) => {
    const told = { url: `ws://127.0.0.1:${proxy.port}`, workers: options.workers, seed: options.seed * 100 + i }
    return new Child(program, ["client", JSON.stringify(told)])
  })
  const processes = [there, ...clients]
  const faults: Record<Fault, number> = { cut: 0, reset: 0, stall: 0 }
  const mismatches: Array<string> = []
  const samples: Array<Sample> = []
  const began = performance.now()
  const end = began + options.minutes * 60_000

  const ask = async (question: Question): Promise<Sample> => {
    const reports = await Promise.all(processes.map((process) => process.ask<Report>(question)))
    for (const report of reports) mismatches.push(...report.mismatches)
    const seconds = (performance.now() - began) / 1000
    return { seconds, reports, faults: { ...faults }, mismatches: mismatches.length }
  }

  try {
    let minute = 1
    while (performance.now() < end) {
      const next = Math.min(performance.now() + interval(options.minutes), end)
      while (performance.now() < next) {
        await setTimeout(100 + choose() * 1500)
        const fault = proxy.harm(choose)
        if (fault !== undefined) faults[fault]++
      }
      samples.push(await ask({ ask: "report" }))
      if (performance.now() >= began + minute * 60_000) console.log(`minute ${minute++}: ${line(samples.at(-1)!)}`)
    }
    const last = await ask({ ask: "finish" })
    console.log(`at rest: ${line(last)}`)
    const { faults: complaints, flat } = judge(samples, last)
    console.log(`memory from the first third to the last, heap and buffers: ${flat}`)
    for (const text of [...mismatches.slice(0, 20), ...complaints]) console.error(text)
    console.log(
      `${options.minutes} min, ${last.reports[0]!.streams} streams, ${
        megabytes(last.reports[0]!.bytes)
      } MB each way, ` +
        `${mismatches.length} mismatches, ${complaints.length === 0 ? "memory is flat" : "NOT CLEAN"}`
    )
    return mismatches.length === 0 && complaints.length === 0
  } finally {
    proxy.close()
    await Promise.all(processes.map((process) => process.stop()))
  }
}

const chosen = (): Options | undefined => {
  try {
    const options = parse(process.argv.slice(2))
    if (options === undefined) console.log(usage())
    return options
  } catch (error) {
    console.error((error as Error).message.replace(/\s+/g, " "))
    process.exitCode = 2
    return undefined
  }
}

const [role, told] = process.argv.slice(2)
if (role === "server") server()
else if (role === "client") client(JSON.parse(told!))
else if (role === "relay-node") relayNode(JSON.parse(told!))
else if (role === "relay-agents") relayAgents(JSON.parse(told!))
else if (role === "relay-clients") relayClients(JSON.parse(told!))
else if (role === "resuming-server") resumingServer()
else if (role === "resumed-client") resumedClient(JSON.parse(told!))
else {
  const options = chosen()
  const run = options?.relay ? soakRelay : options?.resume ? soakResumed : soak
  if (options !== undefined && !await run(options)) process.exitCode = 1
}
