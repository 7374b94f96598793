import { describe, expect, it } from "@effect/vitest"
import * as Redis from "effect-wsmux/cli/redis"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as RelayRedis from "effect-wsmux/RelayRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import { directorySuite } from "../../support/directorySuite.js"
import { programs } from "../../support/programs.js"
import { ask, secret, serveAgent, startRelay } from "../../support/relay.js"
import { patience, within } from "../../support/within.js"
import { redis } from "./servers.js"

const directoryAt = (port: number, prefix: string = randomUUID()) =>
  Effect.flatMap(Redis.connect(`redis://127.0.0.1:${port}`), (client) => RelayRedis.make(client, { prefix }))

const newDirectory = Effect.flatMap(redis, ({ port }) => directoryAt(port))

if (programs.Redis !== undefined) directorySuite("Redis", newDirectory)

describe.skipIf(programs.Redis === undefined)("relays with a directory in Redis", () => {
  it.scopedLive("RelayRedis.layer provides one directory to all programs with its prefix", () =>
    Effect.gen(function*() {
      const { port } = yield* redis
      const prefix = randomUUID()
      const layer = Layer.unwrapScoped(
        Effect.map(Redis.connect(`redis://127.0.0.1:${port}`), (client) => RelayRedis.layer(client, { prefix }))
      )
      const one = { id: "one", url: "ws://one" }
      yield* RelayDirectory.RelayDirectory.pipe(
        Effect.flatMap(({ renew }) => renew(one, 60_000)),
        Effect.provide(layer)
      )
      const nodes = Effect.flatMap(RelayDirectory.RelayDirectory, ({ nodes }) => nodes)
      expect(yield* Effect.provide(nodes, layer)).toEqual([one])
      expect(yield* Effect.flatMap(directoryAt(port), ({ nodes }) => nodes)).toEqual([])
    }))

  it.scopedLive("known names go on while Redis is away, and new ones are reached once it is back", () =>
    Effect.gen(function*() {
      const server = yield* redis
      const relay = Effect.gen(function*() {
        const directory = yield* directoryAt(server.port, "relay")
        const cluster = { directory, secret: "the secret of the nodes" }
        return { directory, ...yield* startRelay({ secrets: [secret], cluster }) }
      })
      const [first, second] = yield* Effect.all([relay, relay])
      const until = (status: number, url: string) =>
        Effect.repeat(Effect.delay(ask(url), 20), { until: (answer) => answer.status === status }).pipe(
          within(patience, `the status ${status} of ${url}`)
        )
      yield* serveAgent(first.ws, "old", (_request, response) => response.end("old"), { program: "p" })
      yield* until(200, `${second.http}/old`)
      yield* server.stop
      yield* serveAgent(first.ws, "new", (_request, response) => response.end("new"), { program: "p" })
      expect((yield* ask(`${second.http}/old`)).body).toBe("old")
      expect((yield* ask(`${first.http}/new`)).body).toBe("new")
      expect(yield* ask(`${second.http}/new`)).toMatchObject({ status: 503, body: "the directory of names is away\n" })
      yield* server.start // without its data
      yield* until(200, `${second.http}/new`)
      expect(Option.isSome(yield* first.directory.find("old"))).toBe(true)
    }))
})
