import { parseArgs } from "node:util"

/** The seeds to run, and whether to print the trace. */
export interface Options {
  readonly from: number
  readonly count: number
  readonly shows: boolean
  /** Runs the programs over transports that resume, in place of those over sessions. */
  readonly resumes: boolean
  /** With `resumes`: sessions over such transports. */
  readonly sessions: boolean
}

export const usage = `npm run simulate -- [options]
  --seeds N   how many programs (2000)
  --from S    the first seed (0)
  --seed S    this one only, with everything that happens in it
  --resume    programs over transports that resume when their links are lost
  --sessions  with --resume: programs of sessions over such transports
  --help      this`

/** The options, or undefined when the arguments ask for help. Throws when an argument is wrong. */
export const parse = (args: ReadonlyArray<string>): Options | undefined => {
  const text = { type: "string" } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: text,
      from: text,
      seed: text,
      resume: { type: "boolean" },
      sessions: { type: "boolean" },
      help: { type: "boolean" }
    }
  })
  if (values.help === true) return undefined
  const mode = { resumes: values.resume === true, sessions: values.sessions === true }
  if (mode.sessions && !mode.resumes) throw new Error("--sessions needs --resume")
  const number = (name: "seeds" | "from" | "seed", least: number, standard: number): number => {
    const given = values[name]
    if (given === undefined) return standard
    const value = /^\d+$/.test(given) ? Number(given) : NaN
    if (!(value >= least && value <= maxSeed)) {
      throw new Error(`--${name}: ${JSON.stringify(given)} is not a whole number from ${least} to ${maxSeed}`)
    }
    return value
  }
  if (values.seed !== undefined && (values.seeds ?? values.from) !== undefined) {
    throw new Error("--seed runs one seed, --seeds and --from run many: give one or the other")
  }
  if (values.seed !== undefined) return { from: number("seed", 0, 0), count: 1, shows: true, ...mode }
  const from = number("from", 0, 0)
  const count = number("seeds", 1, 2000)
  if (from + count - 1 > maxSeed) throw new Error(`--from, --seeds: there is no seed beyond ${maxSeed}`)
  return { from, count, shows: false, ...mode }
}

const maxSeed = 0xffff_ffff
