import { spawnSync } from "node:child_process"
import { bestOther, type Measured, type Sample } from "../results.js"
import { median } from "../statistics.js"
import { cli } from "./entrants.js"
import { type Generator, load, type Moments, Target, type Task } from "./generator.js"
import type { Options, Sizes } from "./options.js"
import type { Program } from "./program.js"
import type { Entrant, Settings, Tunnel } from "./tunnel.js"

/** A tunnel with a target of its own. */
export interface Place {
  readonly tunnel: Tunnel
  readonly target: Target
}

/** What a row needs to measure an entrant. */
export interface Bench {
  readonly entrant: Entrant
  readonly options: Options
  readonly generator: Generator
  /** The tunnel that all rows of a round share. */
  readonly shared: () => Promise<Place>
}

export interface Row extends Measured {
  readonly title: (sizes: Sizes) => string
  readonly runs: (entrant: Entrant) => boolean
  readonly measure: (bench: Bench) => Promise<Sample>
}

/** Starts a tunnel and its target. The caller ends them by `end`. */
export const settle = async (entrant: Entrant, generator: Generator, settings: Settings): Promise<Place> => {
  const target = await Target.start(generator)
  try {
    const tunnel = await entrant.start(target.port, settings)
    await target.totals(2000) // the connections so far are those of the start
    return { tunnel, target }
  } catch (error) {
    await target.stop()
    throw error
  }
}

export const end = async ({ target, tunnel }: Place): Promise<void> => {
  await tunnel.stop()
  await target.stop()
}

type Kind = Task["kind"]

const taskOf = ({ sizes, timeout }: Options, kind: Kind, port: number, connections: number): Task => ({
  kind,
  port,
  connections,
  ms: sizes.ms,
  warm: sizes["warm-ms"],
  limit: timeout * 1000
})

/** Measures at the shared tunnel, with the processor time of the tunnel for each unit of the work. */
const throughTunnel =
  (kind: Kind, connections: (sizes: Sizes) => number, unit: string): Row["measure"] =>
  async ({ generator, options, shared }) => {
    const { target, tunnel } = await shared()
    return loadTunnel(generator, target, tunnel, unit, [
      taskOf(options, kind, tunnel.ports[0]!, connections(options.sizes))
    ])
  }

const loadTunnel = async (
  generator: Generator,
  target: Target,
  tunnel: Tunnel,
  unit: string,
  tasks: ReadonlyArray<Task>
): Promise<Sample> => {
  const programs = [...tunnel.near, ...tunnel.far]
  const spent = () => programs.reduce((sum, program) => sum + program.processor(), 0)
  let before = spent()
  const warm = () => {
    before = spent()
  }
  const samples = await load(generator, target, tasks, { warm })
  const total = (metric: string) => samples.reduce((sum, sample) => sum + sample[metric]!, 0)
  const processor = (spent() - before) * 1e6 / total("units")
  const [first] = samples
  const rest = samples.length === 1 ? first! : { "MB/s": total("MB/s") }
  const { units: _, ...sample } = rest as Sample
  return programs.length === 0 ? sample : { ...sample, [`CPU µs per ${unit}`]: processor }
}

const many = (sizes: Sizes) => sizes.connections
const one = () => 1

const bulk = (id: string, kind: "up" | "down", connections: (sizes: Sizes) => number, ofSsh: number): Row => ({
  id,
  title: (sizes) =>
    `${connections(sizes) === 1 ? "1 connection" : `${connections(sizes)} connections at once`}, ${kind}`,
  metrics: { "MB/s": "more", "CPU µs per MB": "less" },
  bars: [
    { metric: "MB/s", against: "ssh", atLeast: ofSsh },
    { metric: "MB/s", against: "bare", atLeast: 1.2 }
  ],
  runs: () => true,
  measure: throughTunnel(kind, connections, "MB")
})

const mib = 2 ** 20
const sumOf = (programs: ReadonlyArray<Program>, of: (program: Program) => number) =>
  programs.reduce((sum, program) => sum + of(program), 0)
const isTunnel = ({ name }: Entrant) => name !== "direct"

/** Linux shows the memory and the processor time of other processes as files. */
const onLinux = process.platform === "linux"

const residentMemory: Row = {
  id: "memory",
  title: () => "resident memory of all processes of the tunnel after load",
  metrics: { "MiB resident": "less" },
  bars: [{ metric: "MiB resident", atMost: 130 }],
  runs: (entrant) => onLinux && isTunnel(entrant),
  measure: async ({ generator, options, shared }) => {
    const { target, tunnel } = await shared()
    const { connections } = options.sizes
    await load(generator, target, [taskOf(options, "down", tunnel.ports[0]!, connections)])
    return { "MiB resident": sumOf([...tunnel.near, ...tunnel.far], (program) => program.resident()) / mib }
  }
}

const idle: Row = {
  id: "idle",
  title: ({ idle }) =>
    `bytes of each of ${idle} idle connections: growth of resident memory; of the heap and buffers ` +
    "after a collection, where the program runs in Node",
  metrics: {
    "resident bytes, connect": "less",
    "resident bytes, serve": "less",
    "heap bytes, connect": "less",
    "heap bytes, serve": "less"
  },
  bars: ["connect", "serve"].map((side) => ({ metric: `heap bytes, ${side}`, atMost: 20 * 1024 })),
  runs: (entrant) => onLinux && isTunnel(entrant),
  measure: async ({ entrant, generator, options }) => {
    const place = await settle(entrant, generator, { probed: true })
    const { target, tunnel } = place
    const count = options.sizes.idle
    const ends = { connect: tunnel.near, serve: tunnel.far }
    const look = async () => {
      const found: Sample = {}
      for (const [side, programs] of Object.entries(ends)) {
        if (entrant.inNode) {
          const memories = await Promise.all(programs.map((program) => program.memory()))
          found[`heap bytes, ${side}`] = memories.reduce((sum, { heap }) => sum + heap, 0)
        }
        found[`resident bytes, ${side}`] = sumOf(programs, (program) => program.resident())
      }
      return found
    }
    const hold = (connections: number, moments?: Moments) =>
      load(generator, target, [taskOf(options, "idle", tunnel.ports[0]!, connections)], moments)
    try {
      await hold(Math.ceil(count / 4)) // code, pools and tables come first
      const before = await look()
      let after: Sample = {}
      await hold(count, {
        open: async () => {
          after = await look()
        }
      })
      return Object.fromEntries(
        Object.entries(after).map(([metric, bytes]) => [metric, (bytes - before[metric]!) / count])
      )
    } finally {
      await end(place)
    }
  }
}

const start: Row = {
  id: "version",
  title: () => "--version (bare: `node -e 0`)",
  metrics: { "ms": "less" },
  bars: [{ metric: "ms", against: "bare", atMost: 2 }],
  runs: ({ version }) => version !== undefined,
  measure: async ({ entrant, options }) => {
    const { args, file } = entrant.version!
    const times = Array.from({ length: options.sizes.starts }, () => {
      const begin = performance.now()
      const { error, status, stderr } = spawnSync(file, args, { encoding: "utf8", timeout: options.timeout * 1000 })
      if (error !== undefined || status !== 0) {
        throw new Error(`${entrant.name} --version ended with ${error?.message ?? `${status}: ${stderr}`}`)
      }
      return performance.now() - begin
    })
    return { ms: median(times) }
  }
}

/** Whether `wsmux serve` can share its port among processes. */
const hasWorkers = (): boolean =>
  spawnSync(process.execPath, [cli, "serve", "--help"], { encoding: "utf8", timeout: 20_000 }).stdout
    .includes("--workers")

const workers: Row = {
  id: "workers",
  title: ({ sessions }) => `${sessions} sessions at once, up, by one process of serve and by two workers`,
  metrics: { "1 process MB/s": "more", "2 workers MB/s": "more", "2 workers of 1 process": "more" },
  bars: [{ metric: "2 workers of 1 process", atLeast: 1.5 }],
  runs: ({ name }) => name === "ours",
  measure: async ({ entrant, generator, options }) => {
    const rate = async (settings: Settings) => {
      const place = await settle(entrant, generator, { sessions: options.sizes.sessions, ...settings })
      try {
        const tasks = place.tunnel.ports.map((port) => taskOf(options, "up", port, 1))
        return (await loadTunnel(generator, place.target, place.tunnel, "MB", tasks))["MB/s"]!
      } finally {
        await end(place)
      }
    }
    const [single, shared] = [await rate({}), await rate({ workers: 2 })]
    return { "1 process MB/s": single, "2 workers MB/s": shared, "2 workers of 1 process": shared / single }
  }
}

export const rowIds = [
  "up1",
  "down1",
  "up16",
  "down16",
  "pingpong",
  "mixed",
  "connections",
  "first",
  "memory",
  "idle",
  "version",
  "workers"
] as const

/** The chosen rows that this build of the command can run. */
export const rows = (chosen: ReadonlyArray<string>): ReadonlyArray<Row> =>
  all.filter(({ id }) => chosen.includes(id) && (id !== "workers" || hasWorkers()))

const all: ReadonlyArray<Row> = [
  bulk("up1", "up", one, 1.3),
  bulk("down1", "down", one, 1.3),
  bulk("up16", "up", many, 1.5),
  bulk("down16", "down", many, 1.5),
  {
    id: "pingpong",
    title: () => "round trips of 64 bytes",
    metrics: { "p50 µs": "less", "p99 µs": "less", "CPU µs per round trip": "less" },
    bars: [
      { metric: "p50 µs", against: "ssh", atMost: 0.9 },
      { metric: "p99 µs", against: "ssh", atMost: 1.2 }
    ],
    runs: () => true,
    measure: throughTunnel("pingpong", one, "round trip")
  },
  {
    id: "mixed",
    title: () => "round trips of 64 bytes beside one download",
    metrics: { "p50 µs": "less", "p99 µs": "less", "bulk MB/s": "more" },
    bars: [
      { metric: "p50 µs", against: "ssh", atMost: 0.3 },
      { metric: "p99 µs", against: "ssh", atMost: 0.4 },
      { metric: "p99 µs", against: bestOther, atMost: 1 },
      { metric: "bulk MB/s", against: "ssh", atLeast: 1 }
    ],
    runs: () => true,
    measure: throughTunnel("mixed", one, "round trip")
  },
  {
    id: "connections",
    title: ({ connections }) => `connections per second, ${connections} at once, each with an echo of 1 KiB`,
    metrics: { "per second": "more", "CPU µs per connection": "less" },
    bars: [
      { metric: "per second", against: "bare", atLeast: 0.9 },
      { metric: "per second", against: "ssh", atLeast: 0.7 }
    ],
    runs: () => true,
    measure: throughTunnel("connections", many, "connection")
  },
  {
    id: "first",
    title: () => "connect and first answer, one connection at a time",
    metrics: { "p50 ms": "less" },
    bars: [{ metric: "p50 ms", against: "chisel", atMost: 2 }],
    runs: () => true,
    measure: throughTunnel("first", one, "connection")
  },
  residentMemory,
  idle,
  start,
  workers
]
