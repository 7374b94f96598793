/** Idle agents of a relay in one process: `agents.js URL SECRET FIRST COUNT`. Ends with its standard input. */
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as RelayServer from "effect-wsmux/RelayServer"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"

const [url, secret, first, count] = process.argv.slice(2) as [string, string, string, string]

const dial = (name: string) =>
  Effect.gen(function*() {
    const issuedAt = Math.floor(Date.now() / 1000) - 10
    const token = RelayServer.agentToken({ name, issuedAt, expiresAt: issuedAt + 3600 }, secret)
    const headers = RelayServer.agentHeaders({ name, token, program: "bench" })
    const transport = yield* NodeTransport.connect(url, { headers, openTimeout: "1 minute" })
    return yield* Effect.provideService(Session.makeClient(), Transport, transport)
  })

const names = Array.from({ length: Number(count) }, (_, i) => `idle${Number(first) + i}`)

Effect.runFork(Effect.scoped(Effect.gen(function*() {
  yield* Effect.forEach(names, dial, { concurrency: 32, discard: true })
  console.log(JSON.stringify({ event: "connected" }))
  return yield* Effect.never
})))

process.stdin.on("end", () => process.exit()).resume()
