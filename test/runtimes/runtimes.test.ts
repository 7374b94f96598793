import { spawn } from "node:child_process"
import { once } from "node:events"
import { setPriority } from "node:os"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { workerDates } from "./build.js"
import { conform } from "./conform.js"
import type { End } from "./peers.js"
import { commandOf, current, names, newestNode } from "./runtimes.mjs"

const runtimes = names.filter((name) => commandOf(name) !== undefined)
const workers: ReadonlyArray<End> = workerDates.map((date): End => `workerd/${date}`)
const here: End = `${current}/ws`

/** The ends of a runtime. Node 20 has no WebSocket of its own. */
const endsOf = (runtime: string): { readonly servers: ReadonlyArray<End>; readonly clients: ReadonlyArray<End> } => {
  if (runtime === "workerd") return { servers: workers, clients: workers }
  const ws: End = `${runtime}/ws`
  const native: End = `${runtime}/native`
  return {
    servers: runtime === "deno" ? [ws, native] : [ws],
    clients: runtime === "node20" ? [ws] : [ws, native]
  }
}

const ends = runtimes.map(endsOf)
const servers = ends.flatMap(({ servers }) => servers)
const clients = ends.flatMap(({ clients }) => clients)

/** A server on Bun and a client that reads a message whole: the pair that once stalled. */
const stalling = ["node22/native", "bun/ws"] as const

/** Every end with the Node that runs this, and one pair more; with `WSMUX_RUNTIMES=full` every pair. */
const pairs = process.env.WSMUX_RUNTIMES === "full"
  ? servers.flatMap((server) => clients.map((client) => [client, server] as const))
  : [
    ...clients.map((client) => [client, here] as const),
    ...servers.filter((server) => server !== here).map((server) => [here, server] as const),
    ...clients.includes(stalling[0]) && servers.includes(stalling[1]) ? [stalling] : []
  ]

const root = fileURLToPath(new URL("../../", import.meta.url))
const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url))

/** The unit suite takes the cores that the pairs leave: those have to answer in time. */
const lowPriority = 10

describe("runtimes", () => {
  it.skipIf(newestNode === current || commandOf(newestNode) === undefined)(
    `unit suite passes when ${newestNode} runs it`,
    async () => {
      const [program] = commandOf(newestNode)!
      const child = spawn(program!, [vitest, "run", "--project", "unit", "--no-color"], { cwd: root })
      setPriority(child.pid!, lowPriority)
      const [output, errors, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "close")
      ])
      expect(output, errors).toMatch(/^[1-9]\d* passed, 0 failed/m)
      expect(code, errors).toBe(0)
    },
    600_000
  )

  for (const [client, server] of pairs) {
    it(`${client} passes every task when the server is ${server}`, () => conform(client, server))
  }
})
