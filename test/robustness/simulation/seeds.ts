import { count } from "../../support/count.js"
import { extent } from "../../support/extent.js"
import { type Report, simulate } from "./simulate.js"

/** The number of programs. `npm run simulate` runs any number. */
export const total = count("WSMUX_SIMULATION_SEEDS", extent(1000, 300))

/** Runs these seeds, and returns a line for each failure. Lets the timers of the runner go on. */
export const failuresOf = async (
  from: number,
  to: number,
  reportOf: (seed: number) => Report = (seed) => simulate(seed),
  flags = ""
): Promise<ReadonlyArray<string>> => {
  const failures = new Array<string>()
  for (let seed = from; seed < to; seed++) {
    const { failure } = reportOf(seed)
    if (failure !== undefined) failures.push(`npm run simulate -- ${flags}--seed ${seed}: ${failure}`)
    if (seed % perTurn === 0) await turn()
  }
  return failures
}

const perTurn = 20

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** How long a suite may take in milliseconds. Other suites use the same cores. */
export const patience = 300_000
