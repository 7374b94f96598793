import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Child } from "../../support/child.js"
import type { Question } from "./main.js"
import type { Options } from "./options.js"
import { makeProxy } from "./proxy.js"
import type { ResumedReport } from "./resumedClient.js"
import type { ResumingReport } from "./resumingServer.js"
import { random } from "./tasks.js"

/** The waits between two cuts in milliseconds. */
const least = 200
const most = 5000

/**
 * Cuts the connections of sessions that resume, every 0.2 to 5 s under mixed load. Returns whether no byte was lost and
 * no stream failed.
 */
export const soakResumed = async (options: Options): Promise<boolean> => {
  const program = fileURLToPath(import.meta.url)
  const choose = random(options.seed)
  const server = new Child(program, ["resuming-server"])
  const { port } = await server.ask<{ readonly port: number }>({ ask: "port" })
  const proxy = await makeProxy(port)
  const clients = Array.from({ length: options.clients }, (_, i) => {
    const told = { url: `ws://127.0.0.1:${proxy.port}`, seed: options.seed * 100 + i }
    return new Child(program, ["resumed-client", JSON.stringify(told)])
  })
  const ask = (ask: Question["ask"]) => Promise.all(clients.map((client) => client.ask<ResumedReport>({ ask })))
  let cuts = 0
  try {
    await ask("report") // the sessions are there
    const began = performance.now()
    const end = began + options.minutes * 60_000
    let minute = 1
    while (performance.now() < end) {
      await setTimeout(least + choose() * (most - least))
      cuts += await proxy.cut(choose)
      if (performance.now() < began + minute * 60_000) continue
      console.log(`minute ${minute++}: ${cuts} cuts, ${lineOf(await ask("report"))}`)
    }
    const reports = await ask("finish")
    const { faults, left } = await server.ask<ResumingReport>({ ask: "finish" })
    const broken = [...reports.flatMap((report) => report.broken), ...faults]
    for (const text of broken.slice(0, 20)) console.error(text)
    if (left > 0) console.error(`${left} sessions are left at the server`)
    const resumed = reports.reduce((sum, report) => sum + report.resumed, 0)
    // cuts that come one after the other may hit the same resume
    if (resumed < cuts / 2) console.error(`the sessions resumed ${resumed} times after ${cuts} cuts`)
    console.log(
      `${options.minutes.toFixed(1)} min, ${cuts} cuts, ${
        lineOf(reports)
      }, ${broken.length} streams failed or bytes lost`
    )
    return broken.length === 0 && left === 0 && resumed >= cuts / 2
  } finally {
    proxy.close()
    await Promise.all([server, ...clients].map((process) => process.stop()))
  }
}

const lineOf = (reports: ReadonlyArray<ResumedReport>): string => {
  const sum = (of: (report: ResumedReport) => number) => reports.reduce((total, report) => total + of(report), 0)
  return [
    `${sum(({ resumed }) => resumed)} times resumed`,
    `${sum(({ streams }) => streams)} streams`,
    `${(sum(({ bytes }) => bytes) / 1e6).toFixed(1)} MB each way`,
    `${sum(({ keys }) => keys)} key strokes, the slowest ${Math.max(...reports.map(({ slowest }) => slowest))} ms`,
    `${sum(({ calls }) => calls)} calls`,
    `${sum(({ requests }) => requests)} requests`
  ].join(", ")
}
