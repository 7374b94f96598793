import { describe, expect, it } from "@effect/vitest"
import { RelayStatus } from "effect-wsmux/cli/status/relay"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import { programs } from "../../support/programs.js"
import { ask, redialling, serveAgent, tokenOf } from "../../support/relay.js"
import { listening, portOf } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"
import { startRelays } from "./relays.js"
import { run, start } from "./wsmux.js"

const names = Array.from({ length: 12 }, (_, index) => `agent${index}`)

/** Asks for each name in turn until told to stop. Completes with what each request came to. */
const load = (urls: ReadonlyArray<string>, state: { stopped: boolean }, from: number) =>
  Effect.gen(function*() {
    const outcomes: Array<{ readonly status: number | string; readonly body: string; readonly millis: number }> = []
    for (let turn = from; !state.stopped; turn++) {
      const url = `${urls[turn % urls.length]}/${names[turn % names.length]}`
      const began = Date.now()
      const answer = yield* Effect.either(ask(url))
      const { body, status } = answer._tag === "Right"
        ? answer.right
        : { body: "", status: String((answer.left as NodeJS.ErrnoException).code) }
      outcomes.push({ status, body, millis: Date.now() - began })
    }
    return outcomes
  })

/** The nodes that a status page shows, and whether each has answered. */
const nodesOf = (admin: string) =>
  Effect.map(ask(`${admin}status.json`), ({ body }) => {
    const { nodes } = Schema.decodeUnknownSync(Schema.parseJson(RelayStatus), { onExcessProperty: "error" })(body)
    return nodes.map(({ told, url }) => [url, told !== null] as const)
  })

describe.skipIf(programs.Redis === undefined)("three relays and a Redis", () => {
  it.scopedLive("a node that was killed is forgotten by Redis within 15 s, with the names of its agents", () =>
    Effect.gen(function*() {
      const { directory, relays } = yield* startRelays(2).pipe(within(patience, "two relays that listen"))
      const [killed, last] = [relays[0]!, relays[1]!]
      yield* serveAgent(killed.ws, "lost", (_request, response) => response.end("here"), { program: "p" })
      const answers = (status: number) =>
        Effect.repeat(Effect.delay(ask(`${last.http}/lost`), 20), { until: (answer) => answer.status === status })
      yield* answers(200).pipe(within(patience, "an answer of the agent"))
      expect(yield* directory.nodes).toHaveLength(2)
      const began = performance.now()
      yield* killed.signal("SIGKILL")
      const urls = Effect.map(directory.nodes, (nodes) => nodes.map(({ url }) => url))
      const one = Effect.repeat(Effect.delay(urls, 100), { until: (urls) => urls.length === 1 })
      expect(yield* one.pipe(within("30 seconds", "the end of the time to live"))).toEqual([last.ws])
      expect(performance.now() - began).toBeLessThan(20_000) // 15 s, and a busy machine
      expect(Option.getOrThrow(yield* directory.find("lost")).nodes).toEqual([])
      const { status, headers } = yield* ask(`${last.http}/lost`)
      expect([status, headers["retry-after"]]).toEqual([503, "1"])
    }))

  it.scopedLive("wsmux agent is reached at --fallback-url when its relay is killed", () =>
    Effect.gen(function*() {
      const { relays } = yield* startRelays(2).pipe(within(patience, "two relays that listen"))
      const [killed, last] = [relays[0]!, relays[1]!]
      const service = yield* listening(Http.createServer((request, response) => response.end(request.url)))
      const target = `127.0.0.1:${portOf(service)}`
      const args = ["agent", killed.ws, "web", "--fallback-url", last.ws, "--target", target]
      const agent = yield* start(args, { env: { WSMUX_TOKEN: tokenOf("web") } })
      yield* agent.awaitLine(new RegExp(`^reached at ${killed.http}/web$`))
      yield* killed.signal("SIGKILL")
      yield* agent.awaitLine(new RegExp(`^reached at ${last.http}/web$`))
      expect(yield* ask(`${last.http}/web/path`)).toMatchObject({ status: 200, body: "/path" })
    }))

  it.scopedLive(
    "each request is answered or fails within 10 s when a node dies, and none when one drains",
    () =>
      Effect.gen(function*() {
        const { relays } = yield* startRelays(3).pipe(within(patience, "three relays that listen"))
        const [killed, drained, last] = [relays[0]!, relays[1]!, relays[2]!]
        const urls = relays.map(({ ws }) => ws)
        yield* Effect.forEach(names, (name, index) =>
          redialling(
            [...urls.slice(index % 3), ...urls.slice(0, index % 3)],
            name,
            (_request, response) => response.end(name)
          ))
        const answersAll = (url: string) =>
          Effect.forEach(names, (name) =>
            Effect.repeat(Effect.delay(ask(`${url}/${name}`), 20), {
              until: ({ body }) => body === name
            }).pipe(
              within(patience, `an answer of ${name}`)
            ), { concurrency: 4, discard: true })
        yield* answersAll(last.http)
        yield* answersAll(drained.http)
        expect((yield* nodesOf(drained.admin)).map(([, isUp]) => isUp)).toEqual([true, true, true])
        const { code, stdout } = yield* run(["status", last.admin])
        expect([code, stdout.split("\n").filter((line) => / up /.test(line)).length]).toEqual([0, 3])

        const killing = { stopped: false }
        const underKill = yield* Effect.fork(Effect.all(
          [0, 3, 7, 11].map((from) => load([drained.http, last.http], killing, from)),
          { concurrency: "unbounded" }
        ))
        yield* Effect.sleep(500)
        yield* killed.signal("SIGKILL")
        // within its time to live the directory still tells of the node
        expect(Object.fromEntries(yield* nodesOf(last.admin))).toEqual({
          [killed.ws]: false,
          [drained.ws]: true,
          [last.ws]: true
        })
        yield* answersAll(last.http)
        killing.stopped = true
        const outcomes = (yield* underKill.pipe(within(patience, "the answers under the kill"))).flat()
        expect(outcomes.filter(({ status }) => ![200, 502, 503].includes(status as number))).toEqual([])
        expect(Math.max(...outcomes.map(({ millis }) => millis))).toBeLessThan(10_000)

        const draining = { stopped: false }
        const underDrain = yield* Effect.fork(Effect.all(
          [0, 3, 7, 11].map((from) => load([last.http], draining, from)),
          { concurrency: "unbounded" }
        ))
        yield* Effect.sleep(200)
        yield* drained.signal("SIGTERM")
        expect(yield* drained.exit.pipe(within(patience, "the end of the drained relay"))).toBe(0)
        yield* answersAll(last.http)
        draining.stopped = true
        const answers = yield* underDrain.pipe(within(patience, "the answers under the drain"))
        expect(answers.flat().filter(({ status }) => status !== 200)).toEqual([])
        expect(answers.flat().length).toBeGreaterThan(0)

        // an agent that has not dialled yet is a 404 before
        const lines = readFileSync(last.accessLog, "utf8").trim().split("\n").map((line) => JSON.parse(line))
        const line = { name: expect.stringMatching(/^agent/), method: "GET", status: 200, isWhole: true }
        expect(lines).toContainEqual(expect.objectContaining(line))
      }),
    120_000
  )
})
