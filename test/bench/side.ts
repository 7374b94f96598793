/** One of the two processes of a run: `side.js '{"side":"client",...}'`. */
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"
import { memory } from "./memory.js"
import type { Settings, Sizes } from "./options.js"
import { peers } from "./peers/index.js"
import type { Event, Failed } from "./process.js"
import type { Sample } from "./results.js"
import { workloads } from "./workloads.js"

export interface Task {
  readonly side: "server" | "client"
  readonly workload: string
  readonly peer: string
  readonly settings: Settings
  readonly sizes: Sizes
  /** The address of the server for a client. */
  readonly url?: string
}

const tell = (event: Event | Failed): void => {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

/** Waits for the next line of JSON. */
const listener = () => {
  let wake = (_: unknown): void => {}
  createInterface(process.stdin).on("line", (line) => wake(JSON.parse(line))).on("close", () => process.exit())
  return () =>
    new Promise<unknown>((resolve) => {
      wake = resolve
    })
}

const serve = async ({ peer, settings, sizes, workload }: Task): Promise<void> => {
  const port = await (await peers[peer]!()).listen(find(workload).role(sizes), settings)
  const hear = listener()
  tell({ event: "listening", port })
  for (;;) {
    await hear()
    tell({ event: "memory", ...await memory() })
  }
}

const drive = async ({ peer, settings, sizes, url, workload }: Task): Promise<Sample> => {
  const { measure, warmUp } = find(workload)
  const hear = listener()
  const client = await (await peers[peer]!()).connect(url!, settings)
  if (warmUp !== undefined) {
    const start = performance.now()
    do await warmUp(client, sizes)
    while (performance.now() - start < sizes["warm-ms"])
    await setTimeout(20)
  }
  return measure(client, sizes, {
    memory: async () => {
      const server = hear()
      tell({ event: "ask memory" })
      return { server: await server as never, client: await memory() }
    }
  })
}

const find = (id: string) => workloads.find((workload) => workload.id === id)!

const task: Task = JSON.parse(process.argv[2]!)
try {
  if (task.side === "server") await serve(task)
  else tell({ event: "sample", sample: await drive(task) })
} catch (error) {
  tell({ event: "failed", message: error instanceof Error ? error.message : String(error) })
}
