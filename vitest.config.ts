import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const cores = availableParallelism()
const source = fileURLToPath(new URL("./src/", import.meta.url))

/**
 * Groups run one after the other, and the suites of one group beside each other. Vitest 3.2 sorts the groups as texts,
 * so each number has one digit. The number of workers belongs to the pool: unit tests are threads, all others are
 * processes. Workers without isolation run one project after the other, so one project holds all suites that wait.
 */
const group = { computing: 1, waiting: 2, searching: 3, measuring: 4, pairing: 5, repeating: 6 } as const

/** The suites that take longest begin first, so that none of them is left over at the end of its group. */
const slowest = [
  "Session/simultaneousClose",
  "time/keepAlive",
  "package/install",
  "bench/benchmarks",
  "browser/browser",
  "interop/versions",
  "forwards/programs",
  "restart/restart",
  "cli/workers",
  "forwards/udp",
  "cli/packaged",
  "cli/rules",
  "sockets/leaks",
  "cli/usage",
  "cli/options",
  "cli/tunnel",
  "soak/soak",
  "soak/leaks",
  "attacks/streams",
  "resumption/resumption",
  "simulation/simulation",
  "simulation/further",
  "fuzz/fuzz",
  "interop/goRefusals"
]

class SlowestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = slowest.findIndex((name) => moduleId.includes(`/${name}`))
      return index < 0 ? slowest.length : index
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

interface Settings {
  readonly group: number
  readonly include: ReadonlyArray<string>
  readonly timeout: number
  readonly [setting: string]: unknown
}

const project = (name: string, { group, include, timeout, ...settings }: Settings) => ({
  extends: true as const,
  test: {
    name,
    include: include.map((part) => part.endsWith("*") ? `test/${part}.test.ts` : `test/${part}/**/*.test.ts`),
    sequence: { groupOrder: group },
    testTimeout: timeout,
    hookTimeout: timeout,
    ...settings
  }
})

/** The other runtimes are a download of some hundred megabytes, so a desk asks for them. */
const hasRuntimes = process.env.CI !== undefined || process.env.WSMUX_RUNTIMES !== undefined

/** This set-up builds the Go peer and names the programs that the machine lacks. */
const programs = ["test/support/globalSetup.ts"]

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-wsmux$/, replacement: `${source}index.ts` },
      { find: /^effect-wsmux\/(.*)$/, replacement: `${source}$1.ts` }
    ]
  },
  test: {
    reporters: ["default", "./test/support/plainReporter.ts"],
    sequence: { concurrent: true, sequencer: SlowestFirst },
    poolOptions: {
      // Suites share the modules of their worker: importing Effect costs more than most of them. With fewer workers
      // as a minimum, the pool of Vitest 3.2 ends an idle worker twice, and fails.
      threads: { isolate: false, minThreads: cores, maxThreads: cores },
      // Most suites wait for timers, sockets and other processes, so more of them run than there are cores.
      forks: { isolate: false, minForks: cores + 1, maxForks: cores + 1, execArgv: ["--expose-gc"] }
    },
    // `npm run check` compiles the tests of types, so no project checks them a second time.
    // A test that awaits an event names it by `within` of test/support and fails sooner.
    projects: [
      project("unit", { group: group.computing, include: ["unit"], timeout: 60_000, pool: "threads" }),
      project("live", {
        group: group.waiting,
        include: ["sockets", "e2e", "package"],
        timeout: 120_000,
        globalSetup: programs
      }),
      project("robustness", {
        group: group.searching,
        // these attacks and idle sessions have processes of their own, whose memory they measure
        include: [
          "robustness/{simulation,fuzz,soak}",
          "robustness/attacks/{bytes,connections,server,streams}*",
          "robustness/memory/*Sessions*"
        ],
        timeout: 120_000
      }),
      // One suite after the other: each measures the times or the memory of its processes.
      project("attacks", {
        group: group.measuring,
        include: ["robustness/attacks/flood*", "robustness/faults", "robustness/memory/*{Queue,Reader}*"],
        timeout: 120_000,
        poolOptions: { forks: { singleFork: true } }
      }),
      // Each test is two or three processes, which wait for two thirds of their time. So both suites run at once.
      ...hasRuntimes
        ? [
          project("runtimes", {
            group: group.pairing,
            include: ["runtimes/{command,runtimes}*", "proxies"],
            timeout: 300_000,
            maxConcurrency: 8,
            globalSetup: ["test/runtimes/globalSetup.ts"]
          }),
          // A second Vitest, which takes all cores: beside it the pairs would not answer in time.
          project("newest", { group: group.repeating, include: ["runtimes/unit*"], timeout: 600_000 })
        ]
        : []
    ]
  }
})
