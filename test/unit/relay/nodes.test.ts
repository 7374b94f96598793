import { expect, it } from "@effect/vitest"
import * as Nodes from "effect-wsmux/relay/nodes"
import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"

const node = { id: "own", url: "ws://own" }

/** The nodes of a directory that finds names by this function. */
const nodesWith = (
  find: RelayDirectory.Service["find"],
  onFound: (name: string, entry: RelayDirectory.Entry) => void = () => {}
) =>
  Effect.flatMap(RelayDirectory.makeMemory, (directory) =>
    Nodes.make({
      node,
      secret: "a secret of the tests",
      directory: { ...directory, find },
      ttlMillis: 15_000,
      onFound,
      memoryMillis: 10_000,
      now: () => 0,
      session: {}
    }))

for (const name of ["site", undefined]) {
  it.scoped(`Nodes keep no answer of the directory when news of ${name ?? "all names"} came before it`, () =>
    Effect.gen(function*() {
      const answers = yield* Effect.replicateEffect(Deferred.make<RelayDirectory.Entry>(), 2)
      const found: Array<number> = []
      let looks = 0
      const nodes = yield* nodesWith(
        () => Effect.asSome(Deferred.await(answers[looks++]!)),
        (_name, entry) => void found.push(entry.nodes[0]!.agents)
      )
      const opening = yield* Effect.fork(Effect.flip(Effect.scoped(nodes.open("site", { kind: "http" }))))
      yield* Effect.repeat(Effect.yieldNow(), { until: () => looks === 1 })
      nodes.forget(name)
      yield* Deferred.succeed(answers[0]!, { epoch: 1, nodes: [{ ...node, agents: 1 }] })
      yield* Deferred.succeed(answers[1]!, { epoch: 1, nodes: [{ ...node, agents: 2 }] })
      expect(yield* Fiber.join(opening)).toMatchObject({ status: 503 })
      expect([looks, found]).toEqual([2, [2]])
    }))
}

it.scoped("Nodes ask the directory once when many requests look for one name at a time", () =>
  Effect.gen(function*() {
    const answer = yield* Deferred.make<RelayDirectory.Entry>()
    let looks = 0
    const nodes = yield* nodesWith(() => Effect.suspend(() => (looks++, Effect.asSome(Deferred.await(answer)))))
    const open = Effect.flip(Effect.scoped(nodes.open("site", { kind: "http" })))
    const first = yield* Effect.fork(open)
    yield* Effect.yieldNow()
    const others = yield* Effect.fork(Effect.replicateEffect(open, 9, { concurrency: "unbounded" }))
    yield* Effect.yieldNow()
    yield* Fiber.interrupt(first) // the others go on without the one that began
    yield* Deferred.succeed(answer, { epoch: 1, nodes: [] })
    expect(yield* Fiber.join(others)).toEqual(Array.from({ length: 9 }, () => expect.objectContaining({ status: 503 })))
    expect((yield* open).status).toBe(503) // the answer is new
    expect(looks).toBe(1)
  }))

it.scoped("Nodes ask the directory again when it has not answered for 3 s", () =>
  Effect.gen(function*() {
    let looks = 0
    const nodes = yield* nodesWith(() => Effect.suspend(() => looks++ === 0 ? Effect.never : Effect.succeedNone))
    const open = Effect.scoped(nodes.open("site", { kind: "http" }))
    const first = yield* Effect.fork(Effect.flip(open))
    yield* TestClock.adjust("3 seconds")
    expect(yield* Fiber.join(first)).toMatchObject({ status: 503, message: "the directory of names is away" })
    expect([yield* open, looks]).toEqual([Option.none(), 2])
  }))
