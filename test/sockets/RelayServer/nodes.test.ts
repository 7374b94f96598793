import { describe, expect, it } from "@effect/vitest"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Effect from "effect/Effect"
import { ask, serveAgent, startRelay } from "../../support/relay.js"
import { known, saying, startNodes } from "../../support/relayNodes.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

describe("RelayServer.nodes", () => {
  it.scopedLive("RelayServer.nodes tells of all nodes at each of them, and names one that has died", () =>
    Effect.gen(function*() {
      const { directory, nodes } = yield* startNodes(3, { ttl: "1 minute" })
      yield* serveAgent(nodes[0]!.ws, "site", saying("here"), { program: "p" })
      yield* serveAgent(nodes[1]!.ws, "other", saying("here"), { program: "p" })
      yield* known(directory, "site")
      yield* known(directory, "other")
      expect((yield* ask(`${nodes[2]!.http}/site`)).status).toBe(200)
      yield* eventually(() => Effect.runSync(nodes[2]!.snapshot).requests === 1) // counted behind the answer
      for (const node of nodes) {
        const { isDirectoryAway, nodes: reports } = yield* node.nodes.pipe(within(patience, "the reports of 3 nodes"))
        expect(isDirectoryAway).toBe(false)
        expect(reports[0]!.url).toBe(node.ws)
        expect(
          [...reports].sort((a, b) => a.id < b.id ? -1 : 1).map(({ busiest, id, snapshot }) => [
            id,
            snapshot?.agents,
            snapshot?.requests,
            busiest.map(({ name }) => name)
          ])
        ).toEqual([
          ["node0", 1, 0, ["site"]],
          ["node1", 1, 0, ["other"]],
          ["node2", 0, 1, []]
        ])
      }
      yield* nodes[1]!.crash
      // a directory that has not noticed yet
      yield* directory.renew({ id: "node1", url: nodes[1]!.ws }, 60_000)
      const { nodes: reports } = yield* nodes[2]!.nodes.pipe(within(patience, "the reports of 2 nodes"))
      expect(reports.map(({ id, snapshot }) => [id, snapshot?.agents]).sort()).toEqual([
        ["node0", 1],
        ["node1", undefined],
        ["node2", 0]
      ])
    }))

  it.scopedLive("RelayServer.nodes tells of one node when the relay has no directory", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      expect(yield* relay.nodes).toMatchObject({
        isDirectoryAway: false,
        nodes: [{ url: relay.ws, snapshot: { agents: 0 }, busiest: [] }]
      })
    }))

  it.scopedLive("RelayServer.nodes tells that the directory is away when it does not answer", () =>
    Effect.gen(function*() {
      let isAway = false
      const { first } = yield* startNodes(2, {
        ttl: "1 minute",
        wrap: (directory) => ({
          ...directory,
          nodes: Effect.suspend(() =>
            isAway ? Effect.fail(new RelayDirectory.DirectoryFailure({ cause: "away" })) : directory.nodes
          )
        })
      })
      expect((yield* first.nodes).nodes.length).toBe(2)
      isAway = true
      expect(yield* first.nodes).toMatchObject({ isDirectoryAway: true, nodes: [{ id: "node0" }, { id: "node1" }] })
    }))
})
