import { parseCommandLine, usageOf } from "../commandLine.js"

/** The sizes of the rows, in full and with --quick. */
const sizes = {
  "ms": ["milliseconds of each measurement", 1000, 60],
  "warm-ms": ["milliseconds before each of them", 400, 20],
  "connections": ["connections of the rows with many", 16, 16],
  "idle": ["connections of the row with idle ones", 1000, 50],
  "starts": ["processes of the row --version", 5, 1],
  "sessions": ["sessions of the row with workers", 4, 2]
} as const

export type Sizes = { readonly [K in keyof typeof sizes]: number }

export interface Options {
  readonly sizes: Sizes
  readonly quick: boolean
  /** Whether the run has all rows and entrants. */
  readonly whole: boolean
  readonly rounds: number
  readonly only: ReadonlyArray<string>
  readonly entrants: ReadonlyArray<string>
  /** The most seconds of one measurement, and of the whole run. */
  readonly timeout: number
  readonly budget: number
  readonly load: "go" | "node"
  /** Another build of the command, which takes part beside this one. */
  readonly before: string | undefined
  readonly profile: string | undefined
  readonly out: string | undefined
}

const flags = {
  quick: ["short rows in cold processes: shows that everything runs and counts right; ends within a minute"],
  rounds: ["how often each entrant runs each row (3, quick 1)", "N"],
  only: ["the rows to run, such as up1,down16, with commas and no spaces", "LIST"],
  entrants: ["the entrants to run, such as ours,bare,ssh, and bare64 to bare1024 with a window of so many KiB", "LIST"],
  before: ["another dist/cli/bin.js, to be measured as the entrant `before`", "PATH"],
  load: ["the language of the load generator, go or node (go where it is installed)", "LANGUAGE"],
  timeout: ["how long a measurement may take in seconds (20, quick 10)", "N"],
  budget: ["the seconds after which no measurement starts (86400, quick 45)", "N"],
  profile: ["writes the CPU profiles of the tunnels that run in Node there", "DIR"],
  out: ["where the .json and the .svg go, without the extension (partial, or tunnel for a whole run)", "PATH"],
  help: ["this"]
} as const

export const usage = (): string => usageOf("npm run bench:tunnel", flags, sizes)

/** The names of rows and entrants, and whether the load generator can be built in Go. */
export interface Known {
  readonly rows: ReadonlyArray<string>
  readonly entrants: ReadonlyArray<string>
  /** The entrants of a run that names none. */
  readonly usual: ReadonlyArray<string>
}

/** The options, or undefined when the arguments ask for help. */
export const parse = (known: Known): Options | undefined => {
  const given = parseCommandLine(flags, sizes)
  if (given.help) return undefined
  const { list, number, quick, text } = given
  const load = text("load") ?? "go"
  if (load !== "go" && load !== "node") throw new Error(`--load: ${load} is none of go, node`)
  return {
    sizes: given.sizes,
    quick,
    whole: given.onlyNames("out"),
    rounds: number("rounds", quick ? 1 : 3),
    only: list("only", known.rows),
    entrants: text("entrants") === undefined ? known.usual : list("entrants", known.entrants),
    timeout: number("timeout", quick ? 10 : 20),
    budget: number("budget", quick ? 45 : 86_400),
    load,
    before: text("before"),
    profile: text("profile"),
    out: text("out")
  }
}
