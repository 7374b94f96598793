import { expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import type { InvalidDeadline, OpenError } from "effect-wsmux/WsmuxError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes } from "../../support/bytes.js"
import { extent } from "../../support/extent.js"
import { type End, getEnd, other, type Side, Wire } from "../../support/numberedEnds.js"
import { quiet } from "../../support/observe.js"
import { readAll } from "../../support/sessions.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

const sides = ["client", "server"] as const

const side = FastCheck.constantFrom(...sides)
/** The index of an end, or of an open, among those that exist at that step. */
const at = FastCheck.nat(9)
const millis = FastCheck.nat(40)
const doing = <const Do extends string>(...what: ReadonlyArray<Do>) => FastCheck.constantFrom(...what)

const step = FastCheck.oneof(
  {
    weight: 10,
    arbitrary: FastCheck.record({
      do: doing("write"),
      at,
      windows: FastCheck.oneof(FastCheck.constantFrom(0, 1, 2, 3), FastCheck.nat(24).map((eighths) => eighths / 8)),
      parts: FastCheck.integer({ min: 1, max: 3 })
    })
  },
  { weight: 8, arbitrary: FastCheck.record({ do: doing("read"), at }) },
  { weight: 5, arbitrary: FastCheck.record({ do: doing("yield"), turns: FastCheck.integer({ min: 1, max: 30 }) }) },
  { weight: 3, arbitrary: FastCheck.record({ do: doing("wait"), millis }) },
  { weight: 2, arbitrary: FastCheck.record({ do: doing("interruptWrite", "interruptRead"), at }) },
  { weight: 2, arbitrary: FastCheck.record({ do: doing("writeBy", "readBy"), at, millis }) },
  {
    weight: 2,
    arbitrary: FastCheck.record({ do: doing("noDeadline", "end", "end", "sink", "leave", "fail", "reset"), at })
  },
  { weight: 1, arbitrary: FastCheck.record({ do: doing("accept", "interruptAccept"), side }) },
  { weight: 1, arbitrary: FastCheck.record({ do: doing("interruptOpen"), at }) }
)

interface Scale {
  readonly latency: FastCheck.Arbitrary<number>
  readonly maxBuffer: number
  readonly maxSteps: number
}

const bufferSize = (max: number) =>
  FastCheck.oneof(
    FastCheck.integer({ min: 1, max: 16 }),
    FastCheck.integer({ min: 1, max }),
    FastCheck.constant(max / 4)
  )

const dialect = FastCheck.constantFrom("auto" as const, "auto" as const, "off" as const)

const programs = ({ latency, maxBuffer, maxSteps }: Scale) =>
  FastCheck.record({
    buffer: FastCheck.record({ client: bufferSize(maxBuffer), server: bufferSize(maxBuffer) }),
    capacity: FastCheck.oneof(FastCheck.integer({ min: 64, max: 4096 }), FastCheck.constant(64 * 1024)),
    latency,
    dialect: FastCheck.record({ client: dialect, server: dialect }),
    settings: FastCheck.record({
      maxFrameSize: FastCheck.constantFrom(100, 64 * 1024),
      maxUnacknowledgedOpens: FastCheck.constantFrom(1, 100),
      streamAcceptDeadline: FastCheck.constantFrom(60, 30_000)
    }),
    opens: FastCheck.array(
      // the program accepts further streams in a step, or at its end
      FastCheck.record({ side, accepted: FastCheck.constantFrom(true, true, true, false) }),
      { minLength: 1, maxLength: 5 }
    ),
    steps: FastCheck.array(step, { minLength: 1, maxLength: maxSteps, size: "max" }),
    /** Whether the program writes and reads all streams to their ends before the scopes close. */
    finished: FastCheck.boolean()
  })

type Program = ReturnType<typeof programs> extends FastCheck.Arbitrary<infer A> ? A : never

const execute = ({ buffer, capacity, dialect, finished, latency, opens, settings, steps }: Program) =>
  Effect.gen(function*() {
    const wire = new Wire(buffer)
    const pair = yield* MemoryTransport.makePair({ capacity, latency })
    const makeSession = (side: Side) => {
      const make = side === "client" ? Session.makeClient : Session.makeServer
      return Effect.provideService(
        make({ ...settings, dialect: dialect[side], streamBufferSize: buffer[side], ...quiet }),
        Transport,
        wire.watch(side, pair[side])
      )
    }
    const sessions = { client: yield* makeSession("client"), server: yield* makeSession("server") }
    // the clock stands still while the scope closes
    yield* Effect.addFinalizer(() => pair.cut)
    const snapshots = Effect.all([sessions.client.snapshot, sessions.server.snapshot])

    const check = Effect.gen(function*() {
      for (const snapshot of yield* snapshots) wire.checkWindows(snapshot)
      expect(wire.faults).toEqual([])
    })
    /** Moves the clock until a condition holds, and fails after a bound. */
    const until = (what: string, condition: Effect.Effect<boolean>) =>
      Effect.gen(function*() {
        for (let turns = 0; !(yield* condition); turns++) {
          yield* check
          if (turns === 3000) expect.fail(`never: ${what}`)
          yield* TestClock.adjust(Math.max(1, 10 * latency))
        }
        yield* check
      })
    const isDone = (fiber: AnyFiber) => fiber.unsafePoll() !== null
    const isQuiet = Effect.map(
      snapshots,
      (all) =>
        all.every(({ backlog, unacknowledgedOpens, waitingOpens }) =>
          backlog + unacknowledgedOpens + waitingOpens === 0
        )
    )
    const isEmpty = Effect.zipWith(
      isQuiet,
      snapshots,
      (quiet, all) => quiet && all.every((s) => s.streams.length === 0)
    )

    const isSilent = Effect.map(
      snapshots,
      ([{ counters: client }, { counters: server }]) =>
        Equal.equals(Data.struct(client.framesIn), Data.struct(server.framesOut)) &&
        Equal.equals(Data.struct(server.framesIn), Data.struct(client.framesOut))
    )
    const checkCredit = Effect.gen(function*() {
      yield* until("nothing is on its way", isSilent)
      const [client, server] = yield* snapshots
      wire.checkCredit(client, server)
      yield* check
    })
    const ends: Array<End> = []
    const own = (side: Side, get: Effect.Effect<MuxStream, OpenError, Scope.Scope>) =>
      Effect.onExit(
        getEnd(wire, side, get, (end) => ends.push(end)),
        (exit) => Effect.sync(() => wire.judge(exit, (error) => error._tag === "AcceptTimeout"))
      )
    const opening: Array<AnyFiber> = []
    const accepting: Record<Side, Array<AnyFiber>> = { client: [], server: [] }
    const accept = (side: Side) =>
      Effect.map(Effect.fork(own(side, sessions[side].accept)), (fiber) => accepting[side].push(fiber))

    const larger = Math.max(buffer.client, buffer.server)
    /** The first write may be larger than the credit. Later writes depend on the credit that the reader grants. */
    const sizeOf = (end: End, windows: number) => {
      const window = buffer[other(end.side)]
      return Math.floor(end.isFresh() ? Math.min(windows * larger, larger + 4 * window) : windows * window)
    }

    const take = (step: Program["steps"][number]): Effect.Effect<unknown, InvalidDeadline, Scope.Scope> => {
      switch (step.do) {
        case "yield":
          return Effect.repeatN(Effect.yieldNow(), step.turns)
        case "wait":
          return TestClock.adjust(step.millis)
        case "accept":
          return accept(step.side)
        case "interruptAccept":
          return Effect.forEach(accepting[step.side].slice(-1), Fiber.interrupt)
        case "interruptOpen":
          return Fiber.interrupt(opening[step.at % opening.length]!)
      }
      const end = ends[step.at % ends.length]
      if (end === undefined) return Effect.void
      switch (step.do) {
        case "write":
          return end.order({ do: "write", size: sizeOf(end, step.windows), parts: step.parts })
        case "sink":
          return end.order({ do: "sink", size: sizeOf(end, 1), parts: 2 })
        case "writeBy":
          return end.setDeadline("write", step.millis)
        case "readBy":
          return end.setDeadline("read", step.millis)
        case "noDeadline":
          return end.clearDeadlines
        default:
          return end[step.do]
      }
    }

    for (const { accepted, side } of opens) {
      opening.push(yield* Effect.fork(own(side, sessions[side].open())))
      if (accepted) yield* accept(other(side))
    }
    yield* TestClock.adjust(2 * latency)
    for (const step of steps) {
      yield* take(step)
      yield* check
    }

    const rest = yield* Effect.forEach(sides, (side) => Effect.fork(Effect.forever(own(side, sessions[side].accept))))
    yield* until("every open is answered", Effect.map(isQuiet, (quiet) => quiet && opening.every(isDone)))
    yield* Fiber.interruptAll([...rest, ...accepting.client, ...accepting.server])
    yield* checkCredit
    if (finished) {
      const held = ends.filter((end) => !end.isLeft())
      for (const [index, end] of held.entries()) {
        yield* end.clearDeadlines
        yield* end.interruptRead
        yield* end.order({ do: index % 2 === 0 ? "end" : "sink", size: sizeOf(end, 1), parts: 3 })
      }
      const readers = yield* Effect.forEach(held, (end) => end.readAll)
      yield* until("every stream is read to its end", Effect.sync(() => readers.every(isDone)))
      yield* until("every write is done", Effect.sync(() => held.every((end) => end.isIdle())))
      expect(held.map((end) => end.isReset() || end.isWhole())).toEqual(held.map(() => true))
    }
    yield* Effect.forEach(ends, (end) => end.leave)
    yield* until("nothing is left of the streams", isEmpty)
    yield* until("every writer has been told", Effect.sync(() => ends.every((end) => end.isIdle())))

    wire.numbered = false
    const word = bytes("still there?")
    for (const side of sides) {
      const asks = Effect.gen(function*() {
        const stream = yield* sessions[side].open()
        // writes and reads at once, since a window may be smaller than the word
        const tells = Stream.run(Stream.make(word), stream.writable)
        return yield* Effect.zipRight(tells, readAll(stream), { concurrent: true })
      })
      const echoes = Effect.flatMap(
        sessions[other(side)].accept,
        (stream) => Stream.run(stream.readable, stream.writable)
      )
      const fiber = yield* Effect.fork(Effect.scoped(Effect.all([asks, echoes], { concurrency: 2 })))
      yield* until("the sessions still work", Effect.sync(() => isDone(fiber)))
      expect((yield* Fiber.join(fiber))[0]).toEqual(word)
    }
    yield* until("nothing is left of the last streams", isEmpty)

    const [client, server] = (yield* snapshots).map((snapshot) => snapshot.counters)
    expect([client!.bytesIn, server!.bytesIn]).toEqual([server!.bytesOut, client!.bytesOut])
    for (
      const { creditOverflows: clamped, duplicateSyns: duplicates, windowOverruns: overruns, refused } of [
        client!,
        server!
      ]
    ) {
      expect({ clamped, duplicates, overruns, refused }).toEqual({ clamped: 0, duplicates: 0, overruns: 0, refused: 0 })
    }
  })

const links = {
  "a link without latency": { latency: FastCheck.constant(0), maxBuffer: 4096, maxSteps: 40, numRuns: extent(120, 40) },
  // a step of the TestClock takes milliseconds, and each message on its way needs a step
  "a slow link": {
    latency: FastCheck.integer({ min: 1, max: 20 }),
    maxBuffer: 256,
    maxSteps: 15,
    numRuns: extent(20, 8)
  }
}

for (const [link, { numRuns, ...scale }] of Object.entries(links)) {
  it.scoped.prop(
    `streams deliver all bytes in order in random programs over ${link}`,
    [programs(scale)],
    ([program]) => execute(program),
    // the time limit bounds the search for a smaller failing program
    { timeout: 180_000, fastCheck: { numRuns, interruptAfterTimeLimit: 120_000, markInterruptAsFailure: true } }
  )
}
