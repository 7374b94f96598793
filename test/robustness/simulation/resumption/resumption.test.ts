import { describe, expect, it } from "@effect/vitest"
import { count } from "../../../support/count.js"
import { type Report, simulate } from "./simulate.js"

/** The number of programs. `npm run simulate -- --resume` runs any number. */
const total = count("WSMUX_SIMULATION_RESUMES", 200)
const perTurn = 5

/** The reports of the first seeds, which several tests share. */
const reports = new Map<number, Report>()

const reportOf = (seed: number): Report => {
  const report = reports.get(seed) ?? simulate(seed)
  if (seed < shared) reports.set(seed, report)
  return report
}

const shared = 200

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

// each test keeps this process busy, and a test that waits for another one uses up its time
describe.sequential("the simulation of resumptions", { timeout: 300_000 }, () => {
  it(`ResumableTransport loses and doubles nothing in ${total} random programs when links are lost`, async () => {
    const failures = new Array<string>()
    for (let seed = 0; seed < total; seed++) {
      const { failure } = reportOf(seed)
      if (failure !== undefined) failures.push(`npm run simulate -- --resume --seed ${seed}: ${failure}`)
      // lets the timers of the runner go on
      if (seed % perTurn === 0) await turn()
    }
    expect(failures).toEqual([])
  })

  it("simulate gives the same trace of resumptions when a seed runs again in another order", () => {
    const seeds = Array.from({ length: 10 }, (_, seed) => seed)
    const first = seeds.map((seed) => reportOf(seed).hash)
    expect([...seeds].reverse().map((seed) => simulate(seed).hash).reverse()).toEqual(first)
  })

  it("simulate reaches every kind of loss and end when 200 seeds run", () => {
    const all = Array.from({ length: shared }, (_, seed) => reportOf(seed))
    const seen = all.map(({ trace }) => trace.join("\n")).join("\n")
    const events = [
      "is a page",
      "plain",
      "noticed by client and server",
      "noticed by client\n",
      "noticed by server\n",
      "noticed by none",
      "is closed with 1000 and",
      "is closed with 4006 and 4006",
      "link 9 is dialled",
      "GraceExpired",
      "Limit",
      "Unknown"
    ]
    expect(events.filter((event) => !seen.includes(event))).toEqual([])
    expect(all.reduce((sum, { resumed }) => sum + resumed, 0)).toBeGreaterThan(500)
  })
})
