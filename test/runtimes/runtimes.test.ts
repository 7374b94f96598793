import { describe, it } from "vitest"
import { workerDates } from "./build.js"
import { conform } from "./conform.js"
import type { End } from "./peers.js"
import { commandOf, current, names } from "./runtimes.mjs"

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

describe("runtimes", () => {
  for (const [client, server] of pairs) {
    it(`${client} passes every task when the server is ${server}`, () => conform(client, server))
  }
})
