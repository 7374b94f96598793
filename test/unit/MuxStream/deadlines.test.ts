import { describe, expect, it } from "@effect/vitest"
import type { Deadline, MuxStream } from "effect-wsmux/MuxStream"
import { InvalidDeadline, type ReadError, ReadTimeout, type WriteError, WriteTimeout } from "effect-wsmux/WsmuxError"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { bytes, pattern, text } from "../../support/bytes.js"
import { countingFibers, expectWaiting, failureOf, plainly, quietly, start } from "../../support/observe.js"
import { makeStreams, readAll, readSome, settle } from "../../support/sessions.js"

/** Streams whose reads wait for the peer, and whose writes wait for credit, as the window is full. */
const makeBlocked = Effect.tap(makeStreams(quietly()), ({ near }) => near.write(pattern(1024)))

interface Half {
  readonly half: "read" | "write"
  readonly operate: (stream: MuxStream) => Effect.Effect<void, ReadError | WriteError>
  readonly set: (stream: MuxStream, deadline: Deadline) => Effect.Effect<void, InvalidDeadline>
  readonly timeout: ReadTimeout | WriteTimeout
}

const halves: ReadonlyArray<Half> = [
  {
    half: "read",
    operate: (stream) => Effect.asVoid(stream.read),
    set: (stream, deadline) => stream.setReadDeadline(deadline),
    timeout: new ReadTimeout({ streamId: 1 })
  },
  {
    half: "write",
    operate: (stream) => stream.write(bytes("x")),
    set: (stream, deadline) => stream.setWriteDeadline(deadline),
    timeout: new WriteTimeout({ streamId: 1, written: 0 })
  }
]

for (const { half, operate, set, timeout } of halves) {
  describe(`MuxStream ${half} deadline`, () => {
    it.scoped(`MuxStream ${half} deadline fails waiting operations when it passes, and later ones at once`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* set(near, 5000)
        const waiting = [yield* start(operate(near)), yield* start(operate(near))]
        yield* TestClock.adjust(4999)
        yield* expectWaiting(...waiting)
        yield* TestClock.adjust(1)
        for (const fiber of waiting) expect(yield* failureOf(fiber)).toEqual(timeout)
        expect(yield* Effect.flip(operate(near))).toEqual(timeout)
        yield* TestClock.adjust("1 hour")
        expect(yield* Effect.flip(operate(near))).toEqual(timeout)
      }))

    for (const [direction, moved] of [["later", 9000], ["earlier", 4000]] as const) {
      it.scoped(`MuxStream ${half} deadline can be moved ${direction} while an operation waits`, () =>
        Effect.gen(function*() {
          const { near } = yield* makeBlocked
          yield* set(near, 6000)
          const waiting = yield* start(operate(near))
          yield* TestClock.adjust(3000)
          yield* set(near, moved)
          yield* TestClock.adjust(moved - 3000 - 1)
          yield* expectWaiting(waiting)
          yield* TestClock.adjust(1)
          expect(yield* failureOf(waiting)).toEqual(timeout)
        }))
    }

    it.scoped(`MuxStream ${half} deadline can be cleared before and after it passes`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* set(near, 5000)
        const first = yield* start(operate(near))
        yield* set(near, undefined)
        yield* TestClock.adjust(10_000)
        yield* expectWaiting(first)
        yield* set(near, 20_000)
        yield* TestClock.adjust(10_000)
        expect(yield* failureOf(first)).toEqual(timeout)
        yield* set(near, undefined)
        yield* expectWaiting(yield* start(operate(near)))
      }))

    it.scoped(`MuxStream ${half} deadline can be moved into the future after it has passed`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* set(near, 5000)
        yield* TestClock.adjust(5000)
        yield* set(near, 6000)
        const waiting = yield* start(operate(near))
        yield* TestClock.adjust(999)
        yield* expectWaiting(waiting)
        yield* TestClock.adjust(1)
        expect(yield* failureOf(waiting)).toEqual(timeout)
      }))

    it.scoped(`MuxStream ${half} deadline stays in force when a setter gets a time in the past`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* set(near, 5000)
        const waiting = yield* start(operate(near))
        yield* TestClock.adjust(1000)
        expect(yield* Effect.flip(set(near, 999))).toEqual(new InvalidDeadline({ deadline: 999, now: 1000 }))
        expect(yield* Effect.flip(set(near, Number.NaN))).toEqual(new InvalidDeadline({ deadline: NaN, now: 1000 }))
        expect(yield* Effect.flip(set(near, -Infinity))).toEqual(
          new InvalidDeadline({ deadline: -Infinity, now: 1000 })
        )
        yield* TestClock.adjust(3999)
        yield* expectWaiting(waiting)
        yield* TestClock.adjust(1)
        expect(yield* failureOf(waiting)).toEqual(timeout)
        expect(yield* Effect.flip(set(near, 4999))).toEqual(new InvalidDeadline({ deadline: 4999, now: 5000 }))
        expect(yield* Effect.flip(operate(near))).toEqual(timeout)
      }))

    it.scoped(`MuxStream ${half} deadline has passed when it is exactly now`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* TestClock.adjust(1000)
        const waiting = yield* start(operate(near))
        yield* set(near, 1000)
        expect(yield* failureOf(waiting)).toEqual(timeout)
        expect(yield* Effect.flip(operate(near))).toEqual(timeout)
      }))

    it.scoped(`MuxStream ${half} deadline is unlimited when it is Infinity`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* set(near, 1000)
        yield* set(near, Infinity)
        const waiting = yield* start(operate(near))
        yield* TestClock.adjust("1000 days")
        yield* expectWaiting(waiting)
      }))

    const forms = { "a Date": new Date(5000), "a DateTime": DateTime.unsafeMake(5000), "a number": 5000 }
    for (const [name, deadline] of Object.entries(forms)) {
      it.scoped(`MuxStream ${half} deadline can be given as ${name}`, () =>
        Effect.gen(function*() {
          const { near } = yield* makeBlocked
          yield* set(near, deadline)
          const waiting = yield* start(operate(near))
          yield* TestClock.adjust(4999)
          yield* expectWaiting(waiting)
          yield* TestClock.adjust(1)
          expect(yield* failureOf(waiting)).toEqual(timeout)
          yield* TestClock.adjust(1)
          expect(yield* Effect.flip(set(near, deadline))).toEqual(new InvalidDeadline({ deadline: 5000, now: 5001 }))
        }))
    }

    it.scoped(`MuxStream ${half} deadline leaves no timer of the losers when several fibers set it`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeBlocked
        yield* set(near, 1000)
        yield* Effect.forEach([2000, 3000, 4000], (at) => set(near, at), { concurrency: "unbounded" })
        yield* set(near, undefined)
        const waiting = yield* start(operate(near))
        yield* TestClock.adjust(5000)
        yield* expectWaiting(waiting)
      }))

    it.scoped(`MuxStream ${half} deadline has no effect on the peer`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeBlocked
        yield* far.write(pattern(1024))
        yield* set(near, 0)
        yield* expectWaiting(yield* start(far.write(bytes("x"))))
      }))
  })
}

describe("MuxStream deadlines", () => {
  it.scoped("MuxStream carries all bytes after its deadlines have passed and are cleared", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      const sent = pattern(3000)
      yield* near.setDeadline(1000)
      const write = yield* start(near.write(sent))
      yield* TestClock.adjust(1000)
      const { written } = (yield* failureOf(write)) as WriteTimeout
      expect(written).toBe(1024)
      yield* near.setDeadline(undefined)
      yield* Effect.fork(Effect.zipRight(near.write(sent.subarray(written)), near.end))
      expect(yield* readAll(far)).toEqual(sent)
      yield* far.write(bytes("and back"))
      expect(text(yield* readSome(near))).toBe("and back")
    }))

  it.scoped("WriteTimeout has the sent bytes of each waiting write", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      yield* near.setWriteDeadline(1000)
      const writes = [yield* start(near.write(pattern(3000))), yield* start(near.write(bytes("none of this")))]
      yield* far.read
      yield* TestClock.adjust(1000)
      expect([yield* failureOf(writes[0]!), yield* failureOf(writes[1]!)]).toEqual([
        new WriteTimeout({ streamId: 1, written: 2048 }),
        new WriteTimeout({ streamId: 1, written: 0 })
      ])
      yield* near.end
      expect(yield* readAll(far)).toEqual(pattern(3000).subarray(1024, 2048))
    }))

  it.scoped("MuxStream.read returns arrived bytes, and then fails when the read deadline has passed", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      yield* far.write(bytes("early"))
      yield* settle
      yield* near.setReadDeadline(0)
      expect(text(yield* readSome(near))).toBe("early")
      expect(yield* Effect.flip(near.read)).toEqual(new ReadTimeout({ streamId: 1 }))
      yield* far.write(bytes("late"))
      yield* settle
      expect(text(yield* readSome(near))).toBe("late")
      expect(yield* Effect.flip(readAll(near))).toEqual(new ReadTimeout({ streamId: 1 }))
    }))

  it.scoped("MuxStream.read returns the end when the FIN arrives after the read deadline", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      yield* near.setReadDeadline(0)
      yield* far.write(bytes("last"))
      yield* far.end
      yield* settle
      expect(text(yield* readSome(near))).toBe("last")
      expect(yield* near.read).toEqual(Option.none())
    }))

  it.scoped("MuxStream.end to a plain peer completes when the write deadline has passed", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const write = yield* start(near.write(pattern(2000)))
      const end = yield* start(near.end)
      yield* near.setWriteDeadline(0)
      yield* failureOf(write)
      expect(yield* end.await).toEqual(Exit.void)
      expect(yield* readAll(far)).toEqual(pattern(2000).subarray(0, 1024))
    }))

  it.scoped("MuxStream.setDeadline sets both deadlines, or neither when the time has passed", () =>
    Effect.gen(function*() {
      const { near } = yield* makeBlocked
      yield* near.setDeadline(5000)
      const [read, write] = [yield* start(near.read), yield* start(near.write(bytes("x")))]
      yield* TestClock.adjust(1000)
      expect(yield* Effect.flip(near.setDeadline(0))).toEqual(new InvalidDeadline({ deadline: 0, now: 1000 }))
      yield* TestClock.adjust(3999)
      yield* expectWaiting(read, write)
      yield* TestClock.adjust(1)
      expect([yield* failureOf(read), yield* failureOf(write)]).toEqual([
        new ReadTimeout({ streamId: 1 }),
        new WriteTimeout({ streamId: 1, written: 0 })
      ])
      yield* near.setDeadline(undefined)
      yield* expectWaiting(yield* start(near.read), yield* start(near.write(bytes("x"))))
    }))

  it.scoped("MuxStream.setDeadline sets both deadlines to one time when the clock advances meanwhile", () =>
    Effect.gen(function*() {
      const { near } = yield* makeBlocked
      let now = 1000
      const clock = Object.assign(Object.create(yield* Effect.clock), { currentTimeMillis: Effect.sync(() => now++) })
      yield* Effect.withClock(near.setDeadline(1000), clock)
      expect([yield* Effect.flip(near.read), yield* Effect.flip(near.write(bytes("x")))]).toEqual([
        new ReadTimeout({ streamId: 1 }),
        new WriteTimeout({ streamId: 1, written: 0 })
      ])
    }))

  it.scoped("MuxStream holds no timer when its deadlines are cleared, have passed or its scope closes", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const { client, near, server } = yield* makeStreams(quietly())
        const before = yield* fibers
        yield* near.setDeadline(60_000)
        expect(yield* fibers).toBe(before + 2)
        yield* near.setDeadline(undefined)
        expect(yield* fibers).toBe(before)
        yield* near.setDeadline(60_000)
        yield* TestClock.adjust(60_000)
        expect(yield* fibers).toBe(before)
        yield* Effect.scoped(Effect.gen(function*() {
          const [left] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
          yield* left.setDeadline(120_000)
          expect(yield* fibers).toBe(before + 2)
        }))
        expect(yield* fibers).toBe(before)
      })
    ))
})
