import { describe, expect, it } from "@effect/vitest"
import * as Relay from "effect-wsmux/cli/status/relay"
import type * as RelayServer from "effect-wsmux/RelayServer"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"

const snapshot: RelayServer.Snapshot = {
  agents: 2,
  names: 1,
  running: 3,
  requests: 40,
  bytesIn: 1024,
  bytesOut: 2048,
  startedAt: 0,
  isDraining: false
}

const nodes: ReadonlyArray<RelayServer.NodeReport> = [
  { id: "a", url: "ws://a:80/", snapshot, busiest: [{ name: "web", agents: 2, streams: 3 }] },
  { id: "b", url: "ws://b:80/", snapshot: undefined, busiest: [] },
  {
    id: "c",
    url: "ws://c:80/",
    snapshot: { ...snapshot, isDraining: true },
    busiest: [{ name: "api", agents: 1, streams: 9 }, { name: "web", agents: 1, streams: 1 }]
  }
]

/** The status of a relay that tells these nodes, as it arrives in a browser. */
const statusOf = (reports: RelayServer.NodeReports) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(60_000)
    const relay: RelayServer.Service = {
      address: { _tag: "TcpAddress", hostname: "127.0.0.1", port: 80 },
      urlOf: (name) => name,
      snapshot: Effect.succeed(snapshot),
      nodes: Effect.succeed(reports),
      drain: () => Effect.void
    }
    const status = JSON.parse(JSON.stringify(yield* Relay.of(relay, "ws://127.0.0.1:80")))
    return Schema.decodeUnknownSync(Relay.RelayStatus, { onExcessProperty: "error" })(status)
  })

describe("RelayStatus", () => {
  it.effect("RelayStatus.of sums the nodes that answered, and joins their names", () =>
    Effect.gen(function*() {
      const status = yield* statusOf({ nodes, isDirectoryAway: true })
      expect(status).toMatchObject({
        ready: true,
        readiness: "ready, the directory is away, 1 node did not answer",
        total: { agents: 4, running: 6, requests: 80, bytesIn: 2048, bytesOut: 4096 }
      })
      expect(status.nodes.map(({ id, told }) => [id, told?.draining])).toEqual([
        ["a", false],
        ["b", undefined],
        ["c", true]
      ])
      expect(status.names).toEqual([
        { name: "api", agents: 1, streams: 9, nodes: ["c"] },
        { name: "web", agents: 3, streams: 4, nodes: ["a", "c"] }
      ])
    }))

  it.effect("RelayStatus.render names the nodes that did not answer", () =>
    Effect.gen(function*() {
      const text = Relay.render({ ...yield* statusOf({ nodes, isDirectoryAway: false }), version: "0.2.0" })
      expect(text.split("\n")).toEqual([
        "wsmux relay 0.2.0 at ws://127.0.0.1:80: ready, 1 node did not answer, for 1 m",
        "3 nodes, 4 agents, 6 requests running of 80; received 2.0 KiB, sent 4.0 KiB",
        "",
        "NODE        STATE      AGE  AGENTS  NAMES  RUNNING  REQUESTS",
        "ws://a:80/  up         1 m       2      1        3        40",
        "ws://b:80/  no answer    -       -      -        -         -",
        "ws://c:80/  draining   1 m       2      1        3        40",
        "",
        "NAME  AGENTS  STREAMS  NODES",
        "api        1        9  c",
        "web        3        4  a c"
      ])
    }))

  it.effect("RelayStatus.render fits 80 columns when texts are long", () =>
    Effect.gen(function*() {
      const long = "x".repeat(300)
      const text = Relay.render(
        yield* statusOf({
          nodes: nodes.map((node) => ({
            ...node,
            id: long,
            url: `ws://${long}/`,
            busiest: [{ name: long, agents: 1, streams: 1 }]
          })),
          isDirectoryAway: false
        })
      )
      expect(text.split("\n").filter(({ length }) => length > 80)).toEqual([])
    }))
})
