import { mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { goIn } from "../go.js"
import { type Command, Side } from "../process.js"
import type { Sample } from "../results.js"

/** What both ends of the load tell. */
export type Event =
  | { readonly event: "listening"; readonly port: number }
  | { readonly event: "warm" }
  | { readonly event: "open" }
  | { readonly event: "sample"; readonly sample: Sample } & Counts
  | { readonly event: "totals"; readonly open: number; readonly faults: ReadonlyArray<string> } & Counts

/** Connections and their bytes. */
interface Counts {
  readonly connections: number
  readonly received: number
  readonly sent: number
}

/** A measurement through the tunnel at a port. */
export interface Task {
  readonly kind: "up" | "down" | "pingpong" | "mixed" | "connections" | "first" | "idle"
  readonly port: number
  readonly connections: number
  /** Milliseconds of the measurement, of the warm-up, and of all together at most. */
  readonly ms: number
  readonly warm: number
  readonly limit: number
}

/** The command of the load generator, and its language. */
export interface Generator {
  readonly about: string
  readonly command: Command
}

/** Builds the generator in Go where Go is installed. Else the generator runs in Node. */
export const makeGenerator = (wish: "go" | "node"): Generator => {
  const inNode = { file: process.execPath, args: [fileURLToPath(new URL("load/main.js", import.meta.url))] }
  if (wish === "node") return { about: "in Node", command: inNode }
  // the sources lie beside the build
  const go = goIn(fileURLToPath(new URL("../../tunnel/go", import.meta.url)))
  const found = go("version")
  if (found.status !== 0) return { about: "in Node, since Go is not installed", command: inNode }
  const path = fileURLToPath(new URL("../go/tunnel-load", import.meta.url))
  mkdirSync(dirname(path), { recursive: true })
  const built = go("build", "-o", path, ".")
  if (built.status !== 0) throw new Error(`cannot build the load generator:\n${built.stderr}`)
  return { about: `in Go, ${found.stdout.trim()}`, command: { file: path, args: [] } }
}

/** The target of tunnels, which compares its totals with those of the clients. */
export class Target {
  private constructor(readonly port: number, private readonly side: Side<Event>) {}

  static async start({ command }: Generator): Promise<Target> {
    const side = new Side<Event>("the target", command)
    const { port } = await side.expect("listening")
    return new Target(port, side)
  }

  /** Throws when this end of the connections since the last call differs from the other one. */
  async compare(client: Counts, patience = 5000): Promise<void> {
    const { connections, faults, open, received, sent } = await this.totals(patience)
    if (open > 0) throw new Error(`${open} connections are still open at the target`)
    if (faults.length > 0) throw new Error(faults.join("; "))
    for (
      const [what, got, expected] of [
        ["connections", connections, client.connections],
        ["bytes to the target", received, client.sent],
        ["bytes from the target", client.received, sent]
      ] as const
    ) {
      if (got !== expected) throw new Error(`${what}: ${got} of ${expected} arrived`)
    }
  }

  /** Adds what the target has noticed to a failure of a client, whose connection the target then ends. */
  async explain(error: Error): Promise<Error> {
    const { faults } = await this.totals(100)
    return faults.length === 0 ? error : new Error(`${error.message} (${faults.join("; ")})`)
  }

  /** The totals since the last call, when all connections are over. */
  totals(patience: number) {
    this.side.send({ patience })
    return this.side.expect("totals")
  }

  stop(): Promise<void> {
    return this.side.stop()
  }
}

/** Hears of the two moments between which a client measures, and of the moment at which idle connections are open. */
export interface Moments {
  readonly warm?: () => void
  readonly open?: () => Promise<void>
}

/** Runs clients beside each other, and returns their samples after the target has compared all counts. */
export const load = async (
  { command }: Generator,
  target: Target,
  tasks: ReadonlyArray<Task>,
  moments: Moments = {}
): Promise<Array<Sample>> => {
  const sides: Array<Side<Event>> = []
  const drive = async (task: Task) => {
    const side = new Side<Event>("the client", { ...command, args: [...command.args, JSON.stringify(task)] })
    sides.push(side)
    const timer = setTimeout(() => side.kill(), task.limit + 2000)
    try {
      for (;;) {
        const event = await side.next()
        if (event.event === "warm") moments.warm?.()
        if (event.event === "open") {
          await moments.open?.()
          side.send("over")
        }
        if (event.event === "sample") return event
      }
    } finally {
      clearTimeout(timer)
    }
  }
  try {
    const answers = await Promise.all(tasks.map(drive))
    const sum = (count: keyof Counts) => answers.reduce((total, answer) => total + answer[count], 0)
    await target.compare({ connections: sum("connections"), received: sum("received"), sent: sum("sent") })
    return answers.map(({ sample }) => sample)
  } catch (error) {
    throw await target.explain(error as Error)
  } finally {
    for (const side of sides) await side.stop()
  }
}
