import { describe, expect, it } from "@effect/vitest"
import { parse } from "./options.js"
import { failuresOf, patience, total } from "./seeds.js"
import { type Report, simulate } from "./simulate.js"

/** The reports of the first seeds, which several tests share. */
const reports = new Map<number, Report>()
const shared = 200

const reportOf = (seed: number): Report => {
  const report = reports.get(seed) ?? simulate(seed)
  if (seed < shared) reports.set(seed, report)
  return report
}

// each test keeps this process busy, and a test that waits for another one uses up its time
describe.sequential("the simulation", { timeout: patience }, () => {
  it("session keeps its promises in random programs when links are cut and stall", async () => {
    expect(await failuresOf(0, Math.ceil(total / 2), reportOf)).toEqual([])
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
      "GOAWAY",
      "SessionDraining: cannot open a stream: this end",
      "SessionDraining: cannot open a stream: the peer",
      "the server drains",
      "closed by this side (code 1001: drained)",
      "drained: the grace has passed",
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
    const plain = { resumes: false, sessions: false }
    expect(parse([])).toEqual({ from: 0, count: 2000, shows: false, ...plain })
    expect(parse(["--seeds", "7", "--from", "100"])).toEqual({ from: 100, count: 7, shows: false, ...plain })
    expect(parse(["--seed", "42"])).toEqual({ from: 42, count: 1, shows: true, ...plain })
    const one = { from: 1, count: 1, shows: true, resumes: true }
    expect(parse(["--resume", "--seed", "1"])).toEqual({ ...one, sessions: false })
    expect(parse(["--resume", "--sessions", "--seed", "1"])).toEqual({ ...one, sessions: true })
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
        [["--sessions"], "--sessions needs --resume"],
        [["7"], "Unexpected argument '7'"]
      ] as const
    ) {
      expect(() => parse(args), args.join(" ")).toThrow(message)
    }
  })
})
