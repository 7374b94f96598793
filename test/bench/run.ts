import { fileURLToPath } from "node:url"
import { delayProxy } from "./delayProxy.js"
import type { Entrant } from "./entrants.js"
import type { GoPeer } from "./go.js"
import type { Options } from "./options.js"
import { type Command, Side } from "./process.js"
import type { Sample } from "./results.js"
import type { Task } from "./side.js"
import type { Workload } from "./workloads.js"

/**
 * Runs a workload once with a new server and a new client, in bounded time, and answers with the figures of the client.
 */
export const run = async (
  workload: Workload,
  entrant: Entrant,
  { profile, sizes, timeout }: Options,
  go: GoPeer | undefined
): Promise<Sample> => {
  const task = { workload: workload.id, settings: entrant.settings, sizes }
  const command = (side: "server" | "client", url?: string): Command => {
    const peer = entrant[side]
    if (peer === "go") return goSide(go!, task, url)
    const name = `${workload.id} ${entrant.name} ${side}`
    return nodeSide(
      { ...task, side, peer, ...url === undefined ? {} : { url } },
      profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`]
    )
  }
  const sides: Array<Side | { readonly stop: () => Promise<void> }> = []
  let over = false
  const start = (side: "server" | "client", url?: string) => {
    if (over) throw new Error("too late") // no timer would stop the process
    const started = new Side(`the ${side} of ${entrant.name}`, command(side, url))
    sides.unshift(started)
    return started
  }
  const conversation = async (): Promise<Sample> => {
    const server = start("server")
    let { port } = await server.expect("listening")
    if (workload.delayed === true) {
      const proxy = await delayProxy(port, sizes["delay-ms"])
      if (over) proxy.close()
      sides.push({ stop: async () => proxy.close() })
      port = proxy.port
    }
    const client = start("client", `ws://127.0.0.1:${port}`)
    return Promise.race([answerClient(client, server), answerServer(client, server)])
  }
  const { cancel, expired } = expiry(timeout)
  try {
    const conversing = conversation()
    conversing.catch(() => {}) // failures after the expiry have no reader
    return await Promise.race([conversing, expired])
  } finally {
    cancel()
    over = true
    for (const side of sides) await side.stop()
  }
}

const answerClient = async (client: Side, server: Side): Promise<Sample> => {
  for (;;) {
    const event = await client.next()
    if (event.event === "sample") return event.sample
    if (event.event === "ask memory") server.send("memory")
  }
}

const answerServer = async (client: Side, server: Side): Promise<never> => {
  for (;;) client.send(await server.expect("memory"))
}

const expiry = (seconds: number) => {
  let cancel = () => {}
  const expired = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000)
    cancel = () => clearTimeout(timer)
  })
  return { cancel, expired }
}

const nodeSide = (task: Task, flags: ReadonlyArray<string>): Command => ({
  file: process.execPath,
  args: [
    ...flags,
    "--expose-gc",
    // a large nursery would hide the memory of an idle stream
    ...task.workload === "W5" ? ["--max-semi-space-size=1"] : [],
    fileURLToPath(new URL("side.js", import.meta.url)),
    JSON.stringify(task)
  ]
})

const goSide = (
  go: GoPeer,
  { settings, sizes }: Pick<Task, "settings" | "sizes">,
  url: string | undefined
): Command => ({
  file: go.path,
  args: [
    `-window=${settings.window}`,
    ...url === undefined ? [] : [
      `-dial=${url}`,
      `-bytes=${sizes["bulk-mib"] * 2 ** 20}`,
      `-chunk=${sizes["chunk-kib"] * 2 ** 10}`,
      `-warm=${sizes["warm-ms"]}ms`
    ]
  ]
})
