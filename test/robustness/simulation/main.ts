/** `npm run simulate` runs random programs by their seeds. Both files `simulate.ts` explain their programs. */
import { type Options, parse, usage } from "./options.js"
import * as resumption from "./resumption/simulate.js"
import * as sessions from "./simulate.js"

const run = ({ count, from, resumes, sessions: overSessions, shows }: Options): number => {
  let cuts = 0
  let resumed = 0
  let drains = 0
  const simulateSessions = (seed: number) => {
    const report = sessions.simulate(seed, resumes)
    drains += report.drains
    return report
  }
  const simulate = (seed: number) => {
    const report = resumes && !overSessions ? resumption.simulate(seed) : simulateSessions(seed)
    cuts += report.cuts
    resumed += report.resumed
    return report
  }
  const flags = `${resumes ? "--resume " : ""}${overSessions ? "--sessions " : ""}`
  const began = performance.now()
  let told = began
  const failed = new Array<number>()
  for (let seed = from; seed < from + count; seed++) {
    const { failure, hash, trace } = simulate(seed)
    if (shows) console.log(`${trace.join("\n")}\n${hash}`)
    if (failure !== undefined) {
      failed.push(seed)
      if (!shows) {
        console.log(`seed ${seed}: ${failure}\n  npm run simulate -- ${flags}--seed ${seed}`)
      }
    }
    const now = performance.now()
    if (now - told < progressMillis) continue
    told = now
    process.stderr.write(`${seed + 1 - from} of ${count} seeds, ${failed.length} failed\n`)
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  const losses = resumes ? `, ${cuts} cuts, ${resumed} times resumed` : ""
  const drained = resumes && !overSessions ? "" : `, ${drains} drains`
  if (!shows) console.log(`${count} seeds from ${from} on in ${seconds} s: ${failed.length} failed${losses}${drained}`)
  return failed.length === 0 ? 0 : 1
}

const progressMillis = 5000

const main = (): number => {
  try {
    const options = parse(process.argv.slice(2))
    if (options !== undefined) return run(options)
    console.log(usage)
    return 0
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    return 2
  }
}

process.exitCode = main()
