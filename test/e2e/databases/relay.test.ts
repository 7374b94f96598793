import { describe, expect, it } from "@effect/vitest"
import * as Redis from "effect-wsmux/cli/redis"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as RelayRedis from "effect-wsmux/RelayRedis"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import { directorySuite } from "../../support/directorySuite.js"
import { programs } from "../../support/programs.js"
import { ask, secret, serveAgent, startRelay } from "../../support/relay.js"
import { saying } from "../../support/relayNodes.js"
import { patience, within } from "../../support/within.js"
import { redis, type Server } from "./servers.js"

const directoryAt = (port: number, prefix: string = randomUUID()) =>
  Effect.flatMap(Redis.connect(`redis://127.0.0.1:${port}`), (client) => RelayRedis.make(client, { prefix }))

const newDirectory = Effect.flatMap(redis, ({ port }) => directoryAt(port))

if (programs.Redis !== undefined) directorySuite("Redis", newDirectory)

type Generated<A> = A extends FastCheck.Arbitrary<infer Value> ? Value : never

/** The claims of agents with few names, programs and times, so that many of them meet. */
const steps = FastCheck.array(
  FastCheck.record({
    kind: FastCheck.constantFrom<Array<"claim" | "weigh" | "release">>("claim", "claim", "claim", "weigh", "release"),
    agent: FastCheck.integer({ min: 0, max: 5 }),
    maxAgents: FastCheck.constantFrom(1, 2, 10)
  }),
  { minLength: 1, maxLength: 12 }
)

/** Agents whose times differ by 0 s or by at least 10 s: a claim may be on its way for 2 s. */
const agents = FastCheck.array(
  FastCheck.record({
    epoch: FastCheck.constantFrom(1, 1, 2),
    node: FastCheck.constantFrom("one", "two"),
    program: FastCheck.constantFrom(undefined, "p", "q"),
    connected: FastCheck.constantFrom(0, 10_000, 20_000)
  }),
  { minLength: 6, maxLength: 6 }
)

describe.skipIf(programs.Redis === undefined)("relays with a directory in Redis", () => {
  it.live("directories in Redis and in memory rule alike when agents claim, weigh and release a name", () =>
    Effect.scoped(Effect.gen(function*() {
      const directories = [yield* newDirectory, yield* RelayDirectory.makeMemory]
      const compare = (given: Generated<typeof agents>, taken: Generated<typeof steps>) =>
        Effect.gen(function*() {
          const name = randomUUID()
          const began = performance.now()
          const at = (directory: RelayDirectory.Service) =>
            Effect.gen(function*() {
              for (const id of ["one", "two"]) yield* directory.renew({ id, url: `ws://${id}` }, 60_000)
              return yield* Effect.forEach(taken, ({ agent, kind, maxAgents }) => {
                const { connected, ...told } = given[agent]!
                const ageMillis = 20_000 - connected + performance.now() - began
                const claim = { ...told, name, agent: String(agent), ageMillis, maxAgents }
                const done = kind === "release"
                  ? Effect.as(directory.release(claim), "released")
                  : directory[kind](claim)
                return Effect.zip(done, directory.find(name))
              })
            })
          const [inRedis, inMemory] = yield* Effect.forEach(directories, at)
          expect(inRedis).toEqual(inMemory)
        })
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(agents, steps, (given, taken) => Effect.runPromise(compare(given, taken))),
          { numRuns: 200 }
        )
      )
    })).pipe(within(patience, "200 sequences of claims")))

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

  const absences = [
    ["away", ({ stop }: Server) => stop, ({ start }: Server) => start], // it comes back without its data
    ["frozen", ({ freeze }: Server) => freeze, ({ thaw }: Server) => thaw]
  ] as const
  for (const [what, leave, comeBack] of absences) {
    it.scopedLive(`known names go on while Redis is ${what}, and new ones are reached once it is back`, () =>
      Effect.gen(function*() {
        const server = yield* redis
        const [first, second] = yield* Effect.all([relayAt(server), relayAt(server)])
        yield* serveAgent(first.ws, "old", saying("old"), { program: "p" })
        yield* until(200, `${second.http}/old`)
        yield* leave(server)
        yield* serveAgent(first.ws, "new", saying("new"), { program: "p" })
        expect((yield* ask(`${second.http}/old`)).body).toBe("old")
        expect((yield* ask(`${first.http}/new`)).body).toBe("new")
        yield* expectAway(`${second.http}/new`)
        yield* comeBack(server)
        yield* until(200, `${second.http}/new`)
        expect(Option.isSome(yield* first.directory.find("old"))).toBe(true)
      }))

    it.scopedLive(`relays start while Redis is ${what}, and join once it is back`, () =>
      Effect.gen(function*() {
        const server = yield* redis
        yield* leave(server)
        const starting = Effect.all([relayAt(server), relayAt(server)], { concurrency: 2 })
        const [first, second] = yield* starting.pipe(within(patience, "two relays that listen"))
        yield* serveAgent(first.ws, "new", saying("new"), { program: "p" })
        expect((yield* ask(`${first.http}/new`)).body).toBe("new")
        yield* expectAway(`${second.http}/new`)
        yield* comeBack(server)
        yield* until(200, `${second.http}/new`)
      }))
  }
})

const relayAt = ({ port }: Server) =>
  Effect.gen(function*() {
    const directory = yield* directoryAt(port, "relay")
    const cluster = { directory, secret: "the secret of the nodes" }
    return { directory, ...yield* startRelay({ secrets: [secret], cluster }) }
  })

/** Asks until the answer has this status. */
const until = (status: number, url: string) =>
  Effect.repeat(Effect.delay(ask(url), 20), { until: (answer) => answer.status === status }).pipe(
    within(patience, `the status ${status} of ${url}`)
  )

/** Expects the relay to tell in time that it cannot look for a name. */
const expectAway = (url: string) =>
  Effect.gen(function*() {
    const [took, answer] = yield* Effect.timed(ask(url))
    expect(answer).toMatchObject({ status: 503, body: "the directory of names is away\n" })
    expect(Duration.toMillis(took)).toBeLessThan(4000) // a command has 2 s, and the machine is busy
  })
