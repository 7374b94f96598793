import { describe, expect, it } from "@effect/vitest"
import { count } from "../../support/count.js"
import { parse } from "./options.js"
import { simulate } from "./simulate.js"

/** How many programs the suite runs; `npm run simulate` runs any number. */
const total = count("WSMUX_SIMULATION_SEEDS", 2000)
const perTurn = 20

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** The suites beside it want the same two cores. */
const patience = 300_000

// each of them keeps this process busy, and none is to wait for the others within its time
describe.sequential("the simulation", { timeout: patience }, () => {
  it(`finds nothing wrong with ${total} programs`, async () => {
    const failures = new Array<string>()
    for (let seed = 0; seed < total; seed++) {
      const { failure } = simulate(seed)
      if (failure !== undefined) failures.push(`npm run simulate -- --seed ${seed}: ${failure}`)
      // others run in this process, too
      if (seed % perTurn === 0) await turn()
    }
    expect(failures).toEqual([])
  })

  it("does the same for the same seed, whatever ran before", () => {
    const seeds = Array.from({ length: 20 }, (_, seed) => seed)
    const first = seeds.map((seed) => simulate(seed).hash)
    const again = [...seeds].reverse().map((seed) => simulate(seed).hash)
    expect(again.reverse()).toEqual(first)
    expect(new Set(first).size).toBe(seeds.length)
  })

  it("meets what it is there for", () => {
    const seen = Array.from({ length: 200 }, (_, seed) => simulate(seed).trace.join("\n")).join("\n")
    const events = [
      "DAT",
      "FIN",
      "AcceptTimeout",
      "StreamRefused",
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
  it("takes a number of seeds, where to begin, or one seed to show", () => {
    expect(parse([])).toEqual({ from: 0, count: 2000, shows: false })
    expect(parse(["--seeds", "7", "--from", "100"])).toEqual({ from: 100, count: 7, shows: false })
    expect(parse(["--seed", "42"])).toEqual({ from: 42, count: 1, shows: true })
    expect(parse(["--help"])).toBeUndefined()
  })

  it("says in one line what is wrong with what it is given", () => {
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
