import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { unknownName } from "../../../src/relay/failure.js"
import { Names } from "../../../src/relay/names.js"
import * as Report from "../../../src/relay/report.js"
import * as RelayDirectory from "../../../src/RelayDirectory.js"
import { makeSessions } from "../../support/sessions.js"

const told = { snapshot: { agents: 1, isDraining: false }, busiest: [{ name: "a", agents: 1, streams: 2 }] }

const nodeOf = (id: string) => ({ id, url: `ws://${id}` })

/** Gathers from nodes of which each answers as the function says. */
const gathering = (
  answers: Readonly<Record<string, Effect.Effect<string, typeof unknownName>>>,
  directory: Partial<RelayDirectory.Service> = {}
) =>
  Effect.gen(function*() {
    const memory = yield* RelayDirectory.makeMemory
    for (const id of ["own", ...Object.keys(answers)]) yield* memory.renew(nodeOf(id), 60_000)
    return Report.gather({
      node: nodeOf("own"),
      own: Effect.succeed(told),
      others: { directory: { ...memory, ...directory }, ask: ({ id }) => answers[id]! }
    })
  })

const json = (value: unknown) => Effect.succeed(JSON.stringify(value))

describe("Report", () => {
  it.effect("Report.gather names the nodes that fail, tell something else or are silent for 2 s", () =>
    Effect.gen(function*() {
      const gather = yield* gathering({
        up: json({
          snapshot: { agents: 5, isDraining: true, later: 1 },
          busiest: [{ name: "b", streams: 1 }, ...told.busiest, { name: 1, agents: 1, streams: 1 }, null]
        }),
        silent: Effect.never,
        broken: Effect.fail(unknownName),
        older: json({ snapshot: { agents: "many" }, busiest: [] }),
        foreign: Effect.succeed("<html>"),
        empty: Effect.succeed("null")
      })
      const gathered = yield* Effect.fork(gather)
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(gathered)).toEqual({
        isDirectoryAway: false,
        nodes: [
          { ...nodeOf("own"), ...told },
          { ...nodeOf("up"), busiest: told.busiest, snapshot: { agents: 5, isDraining: true } },
          ...["silent", "broken", "older", "foreign", "empty"].map((id) => ({
            ...nodeOf(id),
            snapshot: undefined,
            busiest: []
          }))
        ]
      })
    }))

  it.effect("Report.gather asks the nodes that the directory told last when the directory is away", () =>
    Effect.gen(function*() {
      const failing = Effect.fail(new RelayDirectory.DirectoryFailure({ cause: "away" }))
      let nodes: RelayDirectory.Service["nodes"] = Effect.succeed([nodeOf("own"), nodeOf("up")])
      const gather = yield* gathering({ up: json(told) }, { nodes: Effect.suspend(() => nodes) })
      const idsOf = Effect.map(gather, ({ isDirectoryAway, nodes }) => [isDirectoryAway, ...nodes.map(({ id }) => id)])
      expect(yield* idsOf).toEqual([false, "own", "up"])
      nodes = failing
      expect(yield* idsOf).toEqual([true, "own", "up"])
      nodes = Effect.never
      const silent = yield* Effect.fork(idsOf)
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(silent)).toEqual([true, "own", "up"])
    }))

  it.effect("Report.busiest tells the names with the most streams when there are many", () =>
    Effect.gen(function*() {
      const names = new Names(1000, "own")
      const { client } = yield* makeSessions()
      for (let i = 0; i < 150; i++) {
        names.add({
          id: `${i}`,
          name: `name${i}`,
          epoch: 1,
          program: "p",
          at: 0,
          session: client,
          streams: i,
          isLeaving: false,
          supersede: () => {}
        })
      }
      const busiest = Report.busiest(names)
      expect([busiest.length, busiest[0], busiest[99]]).toEqual([
        100,
        { name: "name149", agents: 1, streams: 149 },
        { name: "name50", agents: 1, streams: 50 }
      ])
    }).pipe(Effect.scoped))
})
