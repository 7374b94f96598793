import * as Redis from "effect-wsmux/cli/redis"
import * as RelayRedis from "effect-wsmux/RelayRedis"
import * as RelayServer from "effect-wsmux/RelayServer"
import * as Effect from "effect/Effect"
import { answering, type Memory, memory } from "../../support/answering.js"
import { redialling, secret } from "../../support/relay.js"

export interface NodeReport extends Memory {
  readonly agents: number
  readonly requests: number
}

export interface NodeQuestion {
  /** `agents`: their number alone. A report collects garbage, which holds up a node that is asked often. */
  readonly ask: "ready" | "agents" | "report" | "drain"
}

/** A node of the relay. */
export const relayNode = ({ port, redis }: { readonly port: number; readonly redis: number }): void => {
  const program = Effect.gen(function*() {
    const directory = yield* RelayRedis.make(yield* Redis.connect(`redis://127.0.0.1:${redis}`))
    const relay = yield* RelayServer.make({
      port,
      secrets: [secret],
      cluster: { directory, secret: "the secret of the nodes" }
    })
    answering(async ({ ask }: NodeQuestion) => {
      if (ask === "drain") return Effect.runPromise(Effect.as(relay.drain({ grace: "30 seconds" }), true))
      const { agents, requests } = await Effect.runPromise(relay.snapshot)
      if (ask === "agents") return agents
      return ask === "ready" ? true : { ...await memory(), agents, requests } satisfies NodeReport
    })
    return yield* Effect.never
  })
  Effect.runFork(Effect.scoped(program))
}

/** How often a slow answer goes on, in milliseconds. */
const beat = 2000

/** Agents in one process, each with a name. They echo bodies, or answer `/slow/N` for N milliseconds. */
export const relayAgents = ({ agents, urls }: {
  readonly agents: number
  readonly urls: ReadonlyArray<string>
}): void => {
  let running = 0
  const program = Effect.forEach(Array.from({ length: agents }, (_, i) => i), (i) => {
    const turned = urls.map((_, at) => urls[(at + i) % urls.length]!)
    return redialling(turned, `agent${i}`, (request, response) => {
      running++
      response.on("close", () => running--)
      response.writeHead(200, { "x-agent": `agent${i}` })
      const [, slow] = /^\/slow\/(\d+)$/.exec(request.url ?? "") ?? []
      if (slow === undefined) return void request.pipe(response)
      const end = performance.now() + Number(slow)
      const timer = setInterval(() => {
        if (performance.now() < end) return void response.write(".")
        clearInterval(timer)
        response.end("!")
      }, beat)
      response.on("close", () => clearInterval(timer))
    })
  }, { concurrency: 10 })
  Effect.runFork(Effect.scoped(Effect.zipRight(program, Effect.never)))
  answering(async () => ({ ...await memory(), running }))
}
