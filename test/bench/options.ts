import { parseCommandLine, usageOf } from "./commandLine.js"

/** The settings of a peer. A peer uses those that it supports, and reports them. */
export interface Settings {
  /** Bytes of a stream's window. */
  readonly window: number
  /** The largest window of effect-wsmux, whose windows grow from the default size. */
  readonly maxWindow?: number
}

/** The sizes of the workloads, in full and with --quick. */
const sizes = {
  "bulk-mib": ["MiB of W1, W1r and W8", 512, 32],
  "chunk-kib": ["KiB of a large write", 64, 64],
  "streams": ["streams of W2", 100, 100],
  "stream-kib": ["KiB of each of them", 4096, 256],
  "round-trips": ["round trips of W3", 30_000, 2000],
  "short-streams": ["streams of W4", 10_000, 1000],
  "workers": ["workers of W4 and W5", 100, 100],
  "idle-streams": ["streams of W5", 10_000, 2000],
  "small-mib": ["MiB of W6, in writes of 1 KiB", 64, 8],
  "mixed-ms": ["milliseconds of W7", 3000, 500],
  "delayed-mib": ["MiB of W9", 512, 16],
  "delayed-opens": ["streams of W10", 50, 10],
  "delay-ms": ["milliseconds each way in W9 and W10", 20, 20],
  "first-mib": ["MiB of the warm-up row", 16, 16],
  "warm-ms": ["how long a run is warmed up", 1000, 150],
  "window-kib": ["our window, for all rows without another", 512, 512]
} as const

export type Sizes = { readonly [K in keyof typeof sizes]: number }

export interface Options {
  readonly sizes: Sizes
  readonly quick: boolean
  /** Whether the run has all workloads and peers. */
  readonly whole: boolean
  readonly rounds: number
  readonly only: ReadonlyArray<string>
  readonly peers: ReadonlyArray<string>
  /** The most seconds of the whole run, after which no further run starts. */
  readonly timeout: number
  readonly budget: number
  /** The folder for profiles of the Node processes. */
  readonly profile: string | undefined
  readonly out: string | undefined
}

const flags = {
  quick: ["small sizes in processes that are cold: shows that everything runs; nothing is started after 90 s"],
  rounds: ["how often each peer runs each workload (3, quick 1)", "N"],
  only: ["the workloads to run, such as W1,W3, with commas and no spaces", "LIST"],
  peers: ["the peers to run, such as ours,ws,bpmux", "LIST"],
  timeout: ["how long a run may take in seconds (120, quick 15)", "N"],
  profile: ["writes the CPU profiles of all Node processes there", "DIR"],
  out: ["where the .json and the .svg go, without the extension (partial, or bench for a whole run)", "PATH"],
  help: ["this"]
} as const

export const usage = (): string => usageOf("npm run bench", flags, sizes)

/** The names of workloads and peers. */
export interface Known {
  readonly workloads: ReadonlyArray<string>
  readonly peers: ReadonlyArray<string>
}

/** The options, or undefined when the arguments ask for help. */
export const parse = (known: Known): Options | undefined => {
  const given = parseCommandLine(flags, sizes)
  if (given.help) return undefined
  const { list, number, quick, text } = given
  return {
    sizes: given.sizes,
    quick,
    whole: given.onlyNames("out"),
    rounds: number("rounds", quick ? 1 : 3),
    only: list("only", known.workloads),
    peers: list("peers", known.peers),
    timeout: number("timeout", quick ? 15 : 120),
    budget: quick ? 90 : Infinity,
    profile: text("profile"),
    out: text("out")
  }
}
