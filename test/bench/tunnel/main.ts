/**
 * `npm run bench:tunnel` measures `wsmux connect` and `wsmux serve` beside other tunnels. `rows.ts` has the rows with
 * their bars, `entrants.ts` the tunnels.
 */
import { existsSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { bufferutil, caption, machine } from "../environment.js"
import { makeFolder, show, writeReport } from "../output.js"
import type { Report } from "../report.js"
import { type Comparison, resultsOf, type Sample, verdictsOf } from "../results.js"
import { cli, entrants, names, usual } from "./entrants.js"
import { makeGenerator } from "./generator.js"
import { type Options, parse, usage } from "./options.js"
import { end, type Place, rowIds, rows, settle } from "./rows.js"
import { table } from "./table.js"
import type { Entrant } from "./tunnel.js"

const comparison: Comparison = {
  limits: ["bare", "ours"],
  competes: (entrant) => entrant !== "direct" && entrant !== "before"
}

/** The shared tunnel of each entrant in a round, which starts when a row needs it, and anew after a failure. */
class Places {
  readonly #places = new Map<Entrant, Place>()

  constructor(private readonly start: (entrant: Entrant) => Promise<Place>) {}

  readonly get = async (entrant: Entrant): Promise<Place> => {
    const place = this.#places.get(entrant) ?? await this.start(entrant)
    this.#places.set(entrant, place)
    return place
  }

  async end(entrant: Entrant): Promise<void> {
    const place = this.#places.get(entrant)
    this.#places.delete(entrant)
    if (place !== undefined) await end(place)
  }

  async endAll(): Promise<void> {
    for (const entrant of this.#places.keys()) await this.end(entrant)
  }
}

const bench = async (options: Options): Promise<Report> => {
  const began = performance.now()
  const seconds = () => (performance.now() - began) / 1000
  const generator = makeGenerator(options.load)
  const chosen = rows(options.only)
  const field = entrants(options.entrants, options.before)
  const samples = new Map(chosen.map(({ id }) => [id, new Map<string, Array<Sample | undefined>>()]))
  const failures: Array<string> = []
  const late: Array<string> = []

  for (let round = 1; round <= options.rounds; round++) {
    const places = new Places((entrant) => settle(entrant, generator, { profile: options.profile }))
    try {
      for (const row of chosen) {
        for (const entrant of field.filter(row.runs)) {
          const name = `${row.id} ${entrant.name}, round ${round}`
          if (seconds() > options.budget) {
            late.push(name)
            continue
          }
          const shared = () => places.get(entrant)
          const sample = await row.measure({ entrant, options, generator, shared }).catch(async (error: Error) => {
            failures.push(`${name}: ${error.message}`)
            await places.end(entrant)
            return undefined
          })
          const rounds = samples.get(row.id)!
          rounds.set(entrant.name, [...rounds.get(entrant.name) ?? [], sample])
          process.stderr.write(`${sample === undefined ? failures.at(-1) : `${name}: ${show(sample)}`}\n`)
        }
      }
    } finally {
      await places.endAll()
    }
  }

  if (late.length > 0) process.stderr.write(`not started, since ${options.budget} s were over: ${late.join("; ")}\n`)
  return {
    environment: {
      ...machine(["effect-wsmux", "effect", "ws"]),
      "load generator": `${generator.about}; compares and counts all bytes at both ends`,
      took: `${Math.round(seconds())} s`,
      ...Object.fromEntries(field.map(({ about, name }) => [name, about]))
    },
    titles: Object.fromEntries(chosen.map(({ id, title }) => [id, title(options.sizes)])),
    results: chosen.flatMap((row) => resultsOf(row, samples.get(row.id)!, comparison)),
    // the bars apply to warm processes
    verdicts: options.quick
      ? []
      : chosen.flatMap((row) => verdictsOf(row, samples.get(row.id)!, comparison, bufferutil)),
    failures
  }
}

const home = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

try {
  const options = parse({ rows: rowIds, entrants: names, usual })
  if (options === undefined) console.log(usage())
  else {
    if (!existsSync(cli)) throw new Error(`${cli}: not built, run npm run build`)
    if (options.before !== undefined && !existsSync(options.before)) {
      throw new Error(`--before: no file ${options.before}`)
    }
    const out = options.out ?? home(`results/${options.whole ? "tunnel" : "partial"}`)
    makeFolder("out", dirname(out))
    if (options.profile !== undefined) makeFolder("profile", options.profile)
    const report = await bench(options)
    // beside direct connections the other bars would vanish
    const charted = report.results.filter(({ entrant, metric }) => entrant !== "direct" && !metric.startsWith("CPU"))
    await writeReport(out, { ...report, sizes: options.sizes }, caption, charted)
    console.log(table(report))
    // others may fail, since their failure is a result
    if (report.failures.some((failure) => / (direct|ours|bare),/.test(failure))) process.exitCode = 1
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
