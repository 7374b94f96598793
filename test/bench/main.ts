/**
 * `npm run bench` runs every workload with every peer, round by round. `workloads.ts` has the workloads and the bars.
 */
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { entrants } from "./entrants.js"
import { bufferutil, caption, describe } from "./environment.js"
import { buildGo } from "./go.js"
import { type Options, parse, usage } from "./options.js"
import { makeFolder, show, writeReport } from "./output.js"
import { bare, peers } from "./peers/index.js"
import { markdown, type Report } from "./report.js"
import { type Comparison, resultsOf, type Sample, verdictsOf } from "./results.js"
import { run } from "./run.js"
import { workloads } from "./workloads.js"

/** The sources of this build. */
const home = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))

const comparison: Comparison = {
  limits: ["Go to Go", "window 16 MiB", "ws", "ours"],
  competes: (entrant) => !bare.includes(entrant) && !entrant.startsWith("ours")
}

const bench = async (options: Options): Promise<Report> => {
  const began = performance.now()
  const chosen = workloads.filter(({ id }) => options.only.includes(id))
  const go = options.only.includes("W8") ? buildGo(home("go"), home("build/go")) : undefined
  const environment = await describe(options, go)
  const failures: Array<string> = []
  const field = chosen.map((workload) => ({
    workload,
    entrants: entrants(workload, options, go),
    samples: new Map<string, Array<Sample | undefined>>()
  }))

  const idle = field.find(({ entrants }) => entrants.length === 0)
  if (idle !== undefined) throw new Error(`--peers: none of them runs ${idle.workload.id}`)
  const late: Array<string> = []
  const seconds = () => (performance.now() - began) / 1000
  for (let round = 1; round <= options.rounds; round++) {
    for (const { entrants, samples, workload } of field) {
      for (const entrant of entrants) {
        const name = `${workload.id} ${entrant.name}, round ${round}`
        if (seconds() > options.budget) {
          late.push(name)
          continue
        }
        const sample = await run(workload, entrant, options, go).catch((error: Error) => {
          failures.push(`${name}: ${error.message}`)
          return undefined
        })
        samples.set(entrant.name, [...samples.get(entrant.name) ?? [], sample])
        process.stderr.write(`${sample === undefined ? failures.at(-1) : `${name}: ${show(sample)}`}\n`)
      }
    }
  }

  if (late.length > 0) process.stderr.write(`not started, since ${options.budget} s were over: ${late.join("; ")}\n`)
  return {
    environment: { ...environment, took: `${Math.round(seconds())} s` },
    titles: Object.fromEntries(chosen.map(({ id, title }) => [id, title(options.sizes)])),
    results: field.flatMap(({ samples, workload }) => resultsOf(workload, samples, comparison)),
    // the bars apply to warm processes
    verdicts: options.quick
      ? []
      : field.flatMap(({ samples, workload }) => verdictsOf(workload, samples, comparison, bufferutil)),
    failures
  }
}

try {
  const options = parse({
    workloads: workloads.map(({ id }) => id),
    peers: [...Object.keys(peers), "go"]
  })
  if (options === undefined) console.log(usage())
  else {
    const out = options.out ?? home(`results/${!options.whole ? "partial" : bufferutil ? "bench-bufferutil" : "bench"}`)
    makeFolder("out", dirname(out))
    if (options.profile !== undefined) makeFolder("profile", options.profile)
    const report = await bench(options)
    await writeReport(out, { ...report, sizes: options.sizes }, caption)
    console.log(markdown(report))
    if (report.failures.length > 0) process.exitCode = 1
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
