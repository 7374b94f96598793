import { describe, expect, it } from "@effect/vitest"
import { count } from "../../support/count.js"
import { parse } from "./options.js"
import { type Report, simulate } from "./simulate.js"

/** The number of programs. `npm run simulate` runs any number. */
const total = count("WSMUX_SIMULATION_SEEDS", 2000)
const perTurn = 20

/** The reports of the first seeds, which several tests share. */
const reports = new Map<number, Report>()
const shared = 200

const reportOf = (seed: number): Report => {
  const report = reports.get(seed) ?? simulate(seed)
  if (seed < shared) reports.set(seed, report)
  return report
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Other suites use the same cores. */
const patience = 300_000

// each test keeps this process busy, and a test that waits for another one uses up its time
describe.sequential("the simulation", { timeout: patience }, () => {
  it(`session keeps its promises in ${total} random programs when links are cut and stall`, async () => {
    const failures = new Array<string>()
    for (let seed = 0; seed < total; seed++) {
      const { failure } = reportOf(seed)
      if (failure !== undefined) failures.push(`npm run simulate -- --seed ${seed}: ${failure}`)
      // lets the timers of the runner go on
      if (seed % perTurn === 0) await turn()
    }
    expect(failures).toEqual([])
  })

  it("simulate gives the same trace when a seed runs again in another order", () => {
    const seeds = Array.from({ length: 20 }, (_, seed) => seed)
    const first = seeds.map((seed) => reportOf(seed).hash)
    const again = [...seeds].reverse().map((seed) => simulate(seed).hash)
    expect(again.reverse()).toEqual(first)
    expect(new Set(first).size).toBe(seeds.length)
  })

  it("simulate reaches every kind of event when 200 seeds run", () => {
    const seen = Array.from({ length: shared }, (_, seed) => reportOf(seed).trace.join("\n")).join("\n")
    const events = [
      "DAT",
      "FIN",
      "AcceptTimeout",
      "StreamRefused",
      "LabelsUnsupported",
      "HELLO",
      "OPEN",
      "RESET",
      "STOP",
      "PING",
      "SYN",
      "TransportFailure",
      "SessionClosed",
      "KeepAliveExpired",
      "interruptWrite",
      "stall",
      "the server stops",
      "client 2",
      "\"capacity\":1,"
    ]
    expect(events.filter((event) => !seen.includes(event))).toEqual([])
  })
})

describe("npm run simulate", () => {
  it("parse answers the seeds and the trace that the arguments ask for", () => {
    expect(parse([])).toEqual({ from: 0, count: 2000, shows: false })
    expect(parse(["--seeds", "7", "--from", "100"])).toEqual({ from: 100, count: 7, shows: false })
    expect(parse(["--seed", "42"])).toEqual({ from: 42, count: 1, shows: true })
    expect(parse(["--help"])).toBeUndefined()
  })

  it("parse fails with one line when an argument is wrong", () => {
    for (
      const [args, message] of [
        [["--seeds", "0"], "--seeds: \"0\" is not a whole number from 1"],
        [["--seeds", "1e3"], "--seeds: \"1e3\" is not"],
        [["--from=-1"], "--from: \"-1\" is not"],
        [["--seed", "1", "--seeds", "2"], "give one or the other"],
        [["--sedes", "1"], "Unknown option '--sedes'"],
        [["--from", "4294967295", "--seeds", "2"], "there is no seed beyond 4294967295"],
        [["7"], "Unexpected argument '7'"]
      ] as const
    ) {
      expect(() => parse(args), args.join(" ")).toThrow(message)
    }
  })
})
