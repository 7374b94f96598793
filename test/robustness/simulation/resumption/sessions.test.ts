import { describe, expect, it } from "@effect/vitest"
import { count } from "../../../support/count.js"
import { failuresOf, patience } from "../seeds.js"
import { type Report, simulate } from "../simulate.js"

/** The number of programs. `npm run simulate -- --resume --sessions` runs any number. */
const total = count("WSMUX_SIMULATION_RESUMED_SESSIONS", 150)

const reports = new Map<number, Report>()

const reportOf = (seed: number): Report => {
  const report = reports.get(seed) ?? simulate(seed, true)
  reports.set(seed, report)
  return report
}

// each test keeps this process busy, and a test that waits for another one uses up its time
describe.sequential("the simulation of sessions that resume", { timeout: patience }, () => {
  it(`session keeps its promises in ${total} random programs when its connections are lost`, async () => {
    expect(await failuresOf(0, total, reportOf, "--resume --sessions ")).toEqual([])
  })

  it("simulate gives the same trace of resumed sessions when a seed runs again in another order", () => {
    const seeds = Array.from({ length: 10 }, (_, seed) => seed)
    const first = seeds.map((seed) => reportOf(seed).hash)
    expect([...seeds].reverse().map((seed) => simulate(seed, true).hash).reverse()).toEqual(first)
  })

  it("simulate cuts and resumes sessions with streams of every kind when 100 seeds run", () => {
    const all = Array.from({ length: 100 }, (_, seed) => reportOf(seed))
    const seen = all.map(({ trace }) => trace.join("\n")).join("\n")
    const events = [
      "OPEN",
      "RESET",
      "STOP",
      "SYN",
      "DAT",
      "GOAWAY",
      "SessionDraining",
      "a link is cut",
      "AcceptTimeout",
      "TransportFailure"
    ]
    expect(events.filter((event) => !seen.includes(event))).toEqual([])
    expect(all.reduce((sum, { resumed }) => sum + resumed, 0)).toBeGreaterThan(50)
  })
})
