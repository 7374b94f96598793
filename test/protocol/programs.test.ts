import { expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import type { Session } from "effect-wsmux/Session"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestContext from "effect/TestContext"
import { concat, pattern } from "../support/bytes.js"
import { makeSessions, readAll } from "../support/sessions.js"

/** One write of a program, and what becomes of it. */
interface Step {
  readonly size: number
  readonly fate: "finish" | "interrupt" | "deadline"
  /** After how many turns of the others it is interrupted. */
  readonly turns: number
}

/** What one end of a stream does. */
interface End {
  readonly steps: ReadonlyArray<Step>
  /** Whether it ends its half after the last write; otherwise it leaves it to the closing of its scope. */
  readonly ends: boolean
  /** How many chunks it reads before it leaves, and how often a read that waits is interrupted first. */
  readonly reads: number
  readonly interrupted: number
}

interface Program {
  readonly buffers: readonly [client: number, server: number]
  readonly capacity: number
  readonly streams: ReadonlyArray<{ readonly opener: 0 | 1; readonly ends: readonly [client: End, server: End] }>
}

const step = FastCheck.record({
  size: FastCheck.nat(3000),
  fate: FastCheck.constantFrom("finish", "finish", "finish", "interrupt", "deadline"),
  turns: FastCheck.nat(12)
}) as FastCheck.Arbitrary<Step>

const end: FastCheck.Arbitrary<End> = FastCheck.record({
  steps: FastCheck.array(step, { maxLength: 5 }),
  ends: FastCheck.boolean(),
  reads: FastCheck.oneof(FastCheck.constant(Infinity), FastCheck.nat(6)),
  interrupted: FastCheck.nat(2)
})

const program: FastCheck.Arbitrary<Program> = FastCheck.record({
  buffers: FastCheck.tuple(FastCheck.integer({ min: 1, max: 2000 }), FastCheck.integer({ min: 1, max: 2000 })),
  capacity: FastCheck.integer({ min: 64, max: 8192 }),
  streams: FastCheck.array(
    FastCheck.record({ opener: FastCheck.constantFrom(0, 1), ends: FastCheck.tuple(end, end) }),
    { minLength: 1, maxLength: 4 }
  ) as FastCheck.Arbitrary<Program["streams"]>
})

/** What a write added to the stream: all of its bytes, the first few, or an unknown number of the first. */
interface Contribution {
  readonly bytes: Uint8Array
  known: number | undefined
}

/** Whether the bytes that were read can be what the writes contributed, as far as they were read. */
const explains = (writes: ReadonlyArray<Contribution>, read: Uint8Array, complete: boolean): boolean => {
  const [write, ...rest] = writes
  if (write === undefined) return read.byteLength === 0
  if (!complete && read.byteLength === 0) return true
  const shared = sharedPrefix(write.bytes, read)
  if (write.known !== undefined) {
    if (shared >= write.known) return explains(rest, read.subarray(write.known), complete)
    return !complete && shared === read.byteLength
  }
  for (let length = shared; length >= 0; length--) if (explains(rest, read.subarray(length), complete)) return true
  return false
}

const sharedPrefix = (a: Uint8Array, b: Uint8Array): number => {
  let length = 0
  while (length < a.byteLength && length < b.byteLength && a[length] === b[length]) length++
  return length
}

const write = (stream: MuxStream, { fate, turns }: Step, contribution: Contribution) =>
  Effect.gen(function*() {
    const writing = yield* Effect.fork(stream.write(contribution.bytes))
    yield* Effect.yieldNow().pipe(Effect.repeatN(turns))
    if (fate === "deadline") yield* stream.setWriteDeadline(yield* Clock.currentTimeMillis)
    const exit = fate === "interrupt" ? yield* Fiber.interrupt(writing) : yield* Fiber.await(writing)
    if (fate === "deadline") yield* stream.setWriteDeadline(undefined)
    if (Exit.isSuccess(exit)) contribution.known = contribution.bytes.byteLength
    else if (exit.cause._tag === "Fail") contribution.known = exit.cause.error.written
  })

/** Runs one end until it is done, or nothing can happen any more. */
const run = (stream: MuxStream, own: End, seed: number, quiet: Effect.Effect<void>) =>
  Effect.gen(function*() {
    const outcome = { contributions: [] as Array<Contribution>, chunks: [] as Array<Uint8Array>, complete: false }
    const writing = Effect.gen(function*() {
      for (const [index, step] of own.steps.entries()) {
        const contribution: Contribution = { bytes: pattern(step.size, seed + index), known: undefined }
        outcome.contributions.push(contribution)
        yield* write(stream, step, contribution)
      }
      if (own.ends) yield* stream.end
    })
    const reading = Effect.gen(function*() {
      for (let i = 0; i < own.interrupted; i++) {
        const waiting = yield* Effect.fork(stream.read)
        yield* Effect.yieldNow()
        const exit = yield* Fiber.interrupt(waiting)
        if (Exit.isSuccess(exit) && exit.value._tag === "Some") outcome.chunks.push(exit.value.value)
      }
      while (outcome.chunks.length < own.reads) {
        const chunk = yield* stream.read
        if (chunk._tag === "None") return void (outcome.complete = true)
        outcome.chunks.push(chunk.value)
      }
    })
    yield* Effect.raceFirst(Effect.all([writing, reading], { concurrency: 2, discard: true }), quiet)
    return outcome
  })

/** Waits until no frame has come or gone for many turns: what still waits then waits for ever. */
const settled = (sessions: readonly [Session, Session]): Effect.Effect<void> => {
  const traffic = Effect.map(
    Effect.all([sessions[0].snapshot, sessions[1].snapshot]),
    (snapshots) => JSON.stringify(snapshots.map(({ counters }) => counters))
  )
  const look = (before: string): Effect.Effect<void> =>
    Effect.yieldNow().pipe(
      Effect.repeatN(100),
      Effect.zipRight(traffic),
      Effect.flatMap((now) => now === before ? Effect.void : look(now))
    )
  return Effect.flatMap(traffic, look)
}

const execute = ({ buffers, capacity, streams }: Program) =>
  Effect.gen(function*() {
    const { client, server } = yield* makeSessions({
      client: { keepAliveInterval: Infinity, streamBufferSize: buffers[0] },
      server: { keepAliveInterval: Infinity, streamBufferSize: buffers[1] },
      link: { capacity }
    })
    const sessions: readonly [Session, Session] = [client, server]
    const quiet = settled(sessions)
    const connect = (opener: 0 | 1) =>
      Effect.gen(function*() {
        const scopes = [yield* Scope.make(), yield* Scope.make()] as const
        const [opened, accepted] = yield* Effect.all([
          Scope.extend(sessions[opener].open(), scopes[opener]),
          Scope.extend(sessions[1 - opener]!.accept, scopes[1 - opener]!)
        ], { concurrency: 2 })
        return { scopes, stream: opener === 0 ? [opened, accepted] as const : [accepted, opened] as const }
      })
    // Each is opened and accepted before the next, so that its two ends know of each other.
    const pairs = yield* Effect.forEach(streams, ({ opener }) => connect(opener))
    yield* Effect.forEach(pairs, ({ scopes, stream }, index) =>
      Effect.gen(function*() {
        const { ends } = streams[index]!
        const outcomes = yield* Effect.forEach([0, 1] as const, (side) =>
          Effect.ensuring(
            run(stream[side], ends[side], (index * 2 + side) * 1000 + 1, quiet),
            Scope.close(scopes[side], Exit.void)
          ), { concurrency: 2 })
        for (const side of [0, 1] as const) {
          const [writer, reader] = [outcomes[1 - side]!, outcomes[side]!]
          expect(explains(writer.contributions, concat(reader.chunks), reader.complete)).toBe(true)
        }
      }), { concurrency: "unbounded", discard: true })

    const last = yield* connect(0)
    yield* Effect.fork(Effect.zipRight(last.stream[0].write(pattern(5000)), last.stream[0].end))
    expect(yield* readAll(last.stream[1])).toEqual(pattern(5000))
    for (const scope of last.scopes) yield* Scope.close(scope, Exit.void)
    yield* quiet
    for (const session of sessions) {
      const { backlog, streams, unacknowledgedOpens } = yield* session.snapshot
      expect({ backlog, streams, unacknowledgedOpens }).toEqual({ backlog: 0, streams: [], unacknowledgedOpens: 0 })
    }
  })

it(
  "any program reads a prefix of what was written, and all of it at an end",
  { timeout: 120_000 },
  () =>
    FastCheck.assert(
      FastCheck.asyncProperty(program, (program) =>
        Effect.runPromise(
          Effect.scoped(execute(program)).pipe(Effect.provide(TestContext.TestContext))
        )),
      { numRuns: 100 }
    )
)
