import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import { BrokenPipe, NoCapacity, ReadTimeout } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { inspect } from "node:util"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeStreams, settle } from "../../support/sessions.js"

/** A stream with a scripted peer. Chunks of 1 KiB and more are not merged. */
const makeStream = (streamBufferSize = 10_000) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", { streamBufferSize })
    yield* peer.send(syn(1))
    const stream = yield* peer.session.accept
    yield* peer.frames
    return { ...peer, stream, inbox: stream.inbox }
  })

/** Returns the sizes of taken chunks, and whether these were the last. */
const sizes = ([chunks, done]: readonly [Chunk.Chunk<Uint8Array>, boolean]) => [
  ...Chunk.toReadonlyArray(chunks).map(({ byteLength }) => byteLength),
  done
]

/** Interrupts a fiber `turns` turns after `begin` has started. */
const interruptAround = <A, E>(fiber: Fiber.Fiber<A, E>, turns: number, begin: Effect.Effect<void>) => {
  const later = Effect.zipRight(Effect.repeatN(Effect.yieldNow(), turns), Fiber.interrupt(fiber))
  return Effect.all([later, begin], { concurrency: 2 })
}

const noMore = new Cause.NoSuchElementException()

describe("MuxStream.inbox", () => {
  it.scoped("inbox.take takes the oldest chunk, and fails with NoSuchElementException at the FIN", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      yield* send(dat(1, pattern(2000)), dat(1, pattern(3000)), fin(1))
      expect([yield* inbox.take, yield* inbox.take]).toEqual([pattern(2000), pattern(3000)])
      expect([yield* Effect.flip(inbox.take), yield* Effect.flip(inbox.take)]).toEqual([noMore, noMore])
    }))

  it.scoped("inbox.take waits until a chunk arrives", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      const taker = yield* start(inbox.take)
      yield* expectWaiting(taker)
      yield* send(dat(1, bytes("late")))
      expect(text(yield* Fiber.join(taker))).toBe("late")
    }))

  it.scoped("inbox.takeAll takes all chunks, and is done when the FIN has arrived", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      const taker = yield* start(inbox.takeAll)
      yield* expectWaiting(taker)
      yield* send(dat(1, pattern(2000)))
      expect(sizes(yield* Fiber.join(taker))).toEqual([2000, false])
      yield* send(dat(1, pattern(1024)), dat(1, pattern(1025)), fin(1))
      expect(sizes(yield* inbox.takeAll)).toEqual([1024, 1025, true])
      expect(sizes(yield* inbox.takeAll)).toEqual([true])
    }))

  it.scoped("inbox does the same as inbox.takeAll when it is run as an Effect", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      yield* send(dat(1, pattern(2000)), fin(1))
      expect(sizes(yield* inbox)).toEqual([2000, true])
      expect(Effect.isEffect(inbox)).toBe(true)
    }))

  it.scoped("inbox.takeN waits for n chunks, and leaves later chunks in the inbox", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      yield* send(dat(1, pattern(1024)))
      const taker = yield* start(inbox.takeN(2))
      yield* expectWaiting(taker)
      yield* send(dat(1, pattern(1025)), dat(1, pattern(1026)))
      expect(sizes(yield* Fiber.join(taker))).toEqual([1024, 1025, false])
      expect(sizes(yield* inbox.takeAll)).toEqual([1026, false])
    }))

  it.scoped("inbox.takeN takes fewer than n chunks when the window is full", () =>
    Effect.gen(function*() {
      const { frames, inbox, send } = yield* makeStream(4096)
      const taker = yield* start(inbox.takeN(3))
      yield* send(dat(1, pattern(2048)))
      yield* expectWaiting(taker)
      yield* send(dat(1, pattern(2048)))
      expect(sizes(yield* Fiber.join(taker))).toEqual([2048, 2048, false])
      expect(yield* frames).toEqual([ack(1, 4096)])
    }))

  it.scoped("inbox.takeN takes fewer than n chunks and is done when the FIN arrives", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      const taker = yield* start(inbox.takeN(3))
      yield* send(dat(1, pattern(1024)), dat(1, pattern(1025)))
      yield* expectWaiting(taker)
      yield* send(fin(1))
      expect(sizes(yield* Fiber.join(taker))).toEqual([1024, 1025, true])
      expect(sizes(yield* inbox.takeN(3))).toEqual([true])
    }))

  it.scoped("inbox.takeN takes nothing and does not wait when n is 0", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      expect(sizes(yield* inbox.takeN(0))).toEqual([false])
      yield* send(dat(1, pattern(1024)), fin(1))
      expect(sizes(yield* inbox.takeN(-1))).toEqual([false])
      yield* inbox.take
      expect(sizes(yield* inbox.takeN(0))).toEqual([true])
    }))

  it.scoped("inbox.clear takes the arrived chunks without waiting", () =>
    Effect.gen(function*() {
      const { frames, inbox, send } = yield* makeStream()
      expect([...yield* inbox.clear]).toEqual([])
      yield* send(dat(1, pattern(6000)))
      expect([...yield* inbox.clear]).toEqual([pattern(6000)])
      expect(yield* frames).toEqual([ack(1, 6000)])
      yield* send(fin(1))
      expect([...yield* inbox.clear]).toEqual([])
    }))

  it.scoped("inbox.size counts the chunks, and is none after the last chunk before the FIN", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      expect([yield* inbox.size, inbox.unsafeSize()]).toEqual([Option.some(0), Option.some(0)])
      yield* send(dat(1, pattern(1024)), dat(1, pattern(1024)), fin(1))
      expect([yield* inbox.size, inbox.unsafeSize()]).toEqual([Option.some(2), Option.some(2)])
      yield* inbox.takeAll
      expect([yield* inbox.size, inbox.unsafeSize()]).toEqual([Option.none(), Option.none()])
    }))

  it.scoped("inbox.await completes when the FIN has come and all chunks are taken", () =>
    Effect.gen(function*() {
      const { inbox, send, stream } = yield* makeStream()
      const waiter = yield* start(inbox.await)
      yield* send(dat(1, pattern(1024)), dat(1, pattern(1024)), fin(1))
      yield* inbox.take
      yield* expectWaiting(waiter)
      yield* stream.read
      yield* settle
      expect(yield* Fiber.join(waiter)).toBeUndefined()
      yield* inbox.await
    }))

  it.scoped("inbox returns credit when chunks are taken", () =>
    Effect.gen(function*() {
      const { frames, inbox, send } = yield* makeStream(4096)
      yield* send(dat(1, pattern(1024)), dat(1, pattern(1024)), dat(1, pattern(2048)))
      yield* inbox.take
      expect(yield* frames).toEqual([])
      yield* inbox.take
      expect(yield* frames).toEqual([ack(1, 2048)])
      yield* inbox.takeAll
      expect(yield* frames).toEqual([ack(1, 2048)])
    }))

  it.scoped("inbox makes a write beyond the window wait until chunks are taken", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* near.write(pattern(1024))
      const write = yield* start(near.write(bytes("x")))
      yield* expectWaiting(write)
      expect((yield* far.inbox.take).byteLength).toBe(1024)
      yield* Fiber.join(write)
      expect(text(yield* far.inbox.take)).toBe("x")
    }))

  it.scoped("inbox fails with NoCapacity after bytes that fit when the peer exceeds the window", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream(3000)
      const waiter = yield* start(inbox.await)
      yield* send(dat(1, pattern(2000)), dat(1, pattern(2000)))
      expect(sizes(yield* inbox.takeAll)).toEqual([2000, 1000, false])
      const overrun = new NoCapacity({ streamId: 1 })
      expect([
        yield* failureOf(waiter),
        yield* Effect.flip(inbox.take),
        yield* Effect.flip(inbox.takeAll),
        yield* Effect.flip(inbox.takeN(1)),
        yield* Effect.flip(inbox.takeN(0)),
        yield* Effect.flip(inbox.clear),
        yield* inbox.size
      ]).toEqual([overrun, overrun, overrun, overrun, overrun, overrun, Option.none()])
    }))

  it.scoped("inbox fails with BrokenPipe after the chunks that had arrived when the session is lost", () =>
    Effect.gen(function*() {
      const { inbox, pair, send } = yield* makeStream()
      yield* send(dat(1, pattern(1024)), dat(1, pattern(1024)))
      const taker = yield* start(inbox.takeN(3))
      const waiter = yield* start(inbox.await)
      yield* pair.cut
      yield* settle
      expect(sizes(yield* Fiber.join(taker))).toEqual([1024, 1024, false])
      const broken = {
        _tag: "BrokenPipe",
        operation: "read",
        reason: "SessionEnded",
        cause: { _tag: "TransportFailure" }
      }
      expect(yield* failureOf(waiter)).toMatchObject(broken)
      expect(yield* Effect.flip(inbox.takeAll)).toMatchObject(broken)
    }))

  it.scoped("inbox fails with BrokenPipe for StreamEnded when the scope of its stream has closed", () =>
    Effect.gen(function*() {
      const peer = yield* makePeer("server")
      yield* peer.send(syn(1))
      const { inbox, taker } = yield* Effect.scoped(Effect.gen(function*() {
        const { inbox } = yield* peer.session.accept
        return { inbox, taker: yield* Effect.forkDaemon(inbox.take) }
      }))
      const left = new BrokenPipe({ streamId: 1, operation: "read", reason: "StreamEnded", written: 0 })
      expect([yield* failureOf(taker), yield* Effect.flip(inbox.takeAll), yield* Effect.flip(inbox.await)])
        .toEqual([left, left, left])
    }))

  it.scoped("inbox fails waiting takes with ReadTimeout when the read deadline passes", () =>
    Effect.gen(function*() {
      const { far, near: { inbox, setReadDeadline } } = yield* makeStreams(quietly())
      const timeout = new ReadTimeout({ streamId: 1 })
      yield* setReadDeadline(1000)
      const operations = [Effect.asVoid(inbox.take), Effect.asVoid(inbox.takeAll), Effect.asVoid(inbox.takeN(2))]
      const takers = yield* Effect.forEach(operations, start)
      const waiter = yield* start(inbox.await)
      yield* TestClock.adjust(999)
      yield* expectWaiting(...takers)
      yield* TestClock.adjust(1)
      for (const taker of takers) expect(yield* failureOf(taker)).toEqual(timeout)
      expect([...yield* inbox.clear, yield* inbox.size]).toEqual([Option.some(0)])
      yield* expectWaiting(waiter)
      yield* far.write(bytes("late"))
      yield* settle
      expect(sizes(yield* inbox.takeN(2))).toEqual([4, false])
      expect(yield* Effect.flip(inbox.takeN(2))).toEqual(timeout)
    }))

  it.scoped("inbox takes nothing when a waiting take is interrupted", () =>
    Effect.gen(function*() {
      const { inbox, send, stream } = yield* makeStream()
      const operations: ReadonlyArray<Effect.Effect<unknown, unknown>> = [inbox.take, inbox.takeAll, inbox.takeN(2)]
      for (const operation of [...operations, stream.read, Stream.runHead(stream.readable)]) {
        yield* Fiber.interrupt(yield* start(operation))
      }
      yield* send(dat(1, bytes("kept")))
      expect(text(yield* inbox.take)).toBe("kept")
    }))

  it.scoped("inbox keeps the chunk when a waiting taker is interrupted in any turn around its arrival", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      const outcomes = new Set<boolean>()
      const operations = [Effect.asVoid(inbox.take), Effect.asVoid(inbox.takeAll), Effect.asVoid(inbox.takeN(1))]
      for (const operation of operations) {
        for (let turns = 0; turns < 10; turns++) {
          const taker = yield* start(operation)
          const [exit] = yield* interruptAround(taker, turns, send(dat(1, bytes("kept"))))
          // either the taker or the inbox has the chunk
          expect([turns, yield* inbox.size]).toEqual([turns, Option.some(Exit.isSuccess(exit) ? 0 : 1)])
          outcomes.add(Exit.isSuccess(exit))
          yield* inbox.clear
        }
      }
      expect(outcomes.size).toBe(2)
    }))

  it.scoped("Mailbox.toStream emits all bytes of an inbox, and ends at the FIN", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* Effect.fork(Effect.zipRight(near.write(pattern(50_000)), near.end))
      expect(concat([...yield* Stream.runCollect(Mailbox.toStream(far.inbox))])).toEqual(pattern(50_000))
    }))

  it.scoped("Mailbox.toStream fails with the error of the inbox", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream(3000)
      yield* send(dat(1, pattern(2000)), dat(1, pattern(2000)))
      expect(yield* Effect.flip(Stream.runDrain(Mailbox.toStream(inbox)))).toEqual(new NoCapacity({ streamId: 1 }))
    }))

  it.scoped("inbox is a ReadonlyMailbox, not a Mailbox", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      expect([Mailbox.isReadonlyMailbox(near.inbox), Mailbox.isMailbox(near.inbox)]).toEqual([true, false])
    }))

  it.scoped("inbox shows its chunks, bytes and capacity when it is printed", () =>
    Effect.gen(function*() {
      const { inbox, send } = yield* makeStream()
      yield* send(dat(1, pattern(2000)))
      const shown = { _id: "effect-wsmux/MuxStream/inbox", chunks: 1, bytes: 2000, capacity: 10_000 }
      expect(JSON.parse(JSON.stringify(inbox))).toEqual(shown)
      expect([inspect(inbox), String(inbox)].map((text) => text.includes("10000"))).toEqual([true, true])
    }))

  const ways = ["take", "takeAll", "takeN", "clear", "read", "readable", "toStream"] as const
  const length = FastCheck.oneof(FastCheck.integer({ min: 1, max: 30 }), FastCheck.integer({ min: 1000, max: 3000 }))
  const step = FastCheck.oneof(
    { weight: 3, arbitrary: FastCheck.record({ kind: FastCheck.constant("send" as const), length }) },
    {
      weight: 4,
      arbitrary: FastCheck.record({
        kind: FastCheck.constantFrom(...ways),
        n: FastCheck.integer({ min: 1, max: 4 }),
        turns: FastCheck.nat(8)
      })
    }
  )

  /** Takes chunks by the operation `kind`, and returns them as a list. */
  const takeBy = (kind: (typeof ways)[number], n: number, { inbox, read, readable }: MuxStream) => {
    const all = Effect.map(([chunks]: readonly [Chunk.Chunk<Uint8Array>, boolean]) => [...chunks])
    switch (kind) {
      case "take":
        return Effect.map(inbox.take, (chunk) => [chunk])
      case "takeAll":
        return all(inbox.takeAll)
      case "takeN":
        return all(inbox.takeN(n))
      case "clear":
        return Effect.map(inbox.clear, (chunks) => [...chunks])
      case "read":
        return Effect.map(read, Option.toArray)
      case "readable":
        return Effect.map(Stream.runHead(readable), Option.toArray)
      case "toStream":
        return Effect.map(
          Stream.runCollect(Stream.take(Stream.chunks(Mailbox.toStream(inbox)), 1)),
          (chunks) => [...chunks].flatMap((chunk) => [...chunk])
        )
    }
  }

  it.effect.prop(
    "inbox, read and readable give all bytes once and in order for any interleaving",
    [FastCheck.array(step, { maxLength: 30 })],
    ([steps]) =>
      Effect.scoped(Effect.gen(function*() {
        const { send, stream } = yield* makeStream(200_000)
        const source = pattern(90_000)
        const taken: Array<Uint8Array> = []
        let sent = 0
        for (const step of steps) {
          if (step.kind === "send") {
            yield* send(dat(1, source.subarray(sent, sent += step.length)))
            continue
          }
          const taker = yield* start(takeBy(step.kind, step.n, stream))
          if (taker.unsafePoll() === null) {
            // A Stream may hold a taken chunk before it emits the chunk, so the test interrupts waiting Streams only.
            const isStream = step.kind === "readable" || step.kind === "toStream"
            const arrival = isStream ? Effect.void : send(dat(1, source.subarray(sent, sent += 1000 + step.n)))
            const [exit] = yield* interruptAround(taker, step.turns, arrival)
            if (Exit.isSuccess(exit)) taken.push(...exit.value)
            else expect(Exit.isInterrupted(exit)).toBe(true)
          } else {
            taken.push(...yield* Fiber.join(taker))
          }
        }
        yield* send(fin(1))
        for (let done = false; !done;) {
          const [chunks, last] = yield* stream.inbox.takeAll
          taken.push(...chunks)
          done = last
        }
        expect(concat(taken)).toEqual(source.subarray(0, sent))
        expect(yield* Effect.flip(stream.inbox.take)).toEqual(noMore)
      })),
    { fastCheck: { numRuns: 100 } }
  )
})
