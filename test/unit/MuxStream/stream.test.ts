import { describe, expect, it } from "@effect/vitest"
import * as MuxStream from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import type { ReadError, WriteError } from "effect-wsmux/WsmuxError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, makeStreams, readAll, readSome, settle } from "../../support/sessions.js"

/** What a broken pipe tells: the operation, how much of it had gone, and why. */
const told = (error: ReadError | WriteError) =>
  error._tag === "BrokenPipe" ? [error.operation, error.written, error.cause] : error

const endedHere = ["write", 0, undefined]

describe("a stream", () => {
  it.scoped("carries bytes both ways, each way to its own end", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const sent = pattern(100_000)
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      yield* Effect.fork(Effect.zipRight(near.write(sent), near.end))
      expect(yield* readAll(near)).toEqual(sent)
    }))

  it.scoped("is known by its guard, and its session by its own", () =>
    Effect.gen(function*() {
      const { client, near } = yield* makeStreams()
      expect([near, client, null, {}].map(MuxStream.isMuxStream)).toEqual([true, false, false, false])
      expect([near, client, null, {}].map(Session.isSession)).toEqual([false, true, false, false])
    }))

  it.scoped("does not share bytes with the writer: it may use its chunk again", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const chunk = bytes("first")
      yield* near.write(chunk)
      chunk.set(bytes("other"))
      expect(text(yield* readSome(far))).toBe("first")
    }))
})

describe("the end of a stream", () => {
  it.scoped("is only that of one way: the one who ended goes on reading, the other goes on writing", () =>
    Effect.gen(function*() {
      for (const swapped of [false, true]) {
        const { far, near } = yield* makeStreams()
        const [first, second] = swapped ? [far, near] : [near, far]
        yield* first.write(bytes("question"))
        yield* first.end
        expect(text(yield* readAll(second))).toBe("question")
        yield* Effect.fork(Effect.zipRight(second.write(pattern(5000)), second.end))
        expect(yield* readAll(first)).toEqual(pattern(5000))
      }
    }))

  it.scoped("is read again and again", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* near.end
      expect([yield* far.read, yield* far.read, yield* readAll(far)]).toEqual([
        Option.none(),
        Option.none(),
        new Uint8Array(0)
      ])
    }))

  it.scoped("wakes every reader that waits", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const readers = [yield* start(far.read), yield* start(far.read)]
      yield* near.end
      for (const reader of readers) expect(yield* Fiber.join(reader)).toEqual(Option.none())
    }))

  it.scoped("is sent once, however often it is asked for", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* Effect.scoped(Effect.gen(function*() {
        const stream = yield* session.accept
        yield* stream.end
        yield* Effect.all([stream.end, stream.end], { concurrency: 2 })
        return stream
      }))
      yield* stream.end
      expect(yield* frames).toEqual([ack(1, 1024), fin(1)])
    }))

  it.scoped("makes later writes fail without a cause, also empty ones", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      yield* near.end
      expect([
        yield* Effect.flip(near.write(bytes("x"))),
        yield* Effect.flip(near.writeAll([bytes("x")])),
        yield* Effect.flip(near.write(new Uint8Array(0))),
        yield* Effect.flip(Stream.run(Stream.make(bytes("x")), near.writable))
      ].map(told)).toEqual([endedHere, endedHere, endedHere, endedHere])
    }))

  it.scoped("follows the writes that wait, and refuses new ones at once", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const write = yield* start(near.write(pattern(3000)))
      const end = yield* start(near.end)
      expect(told(yield* Effect.flip(near.write(bytes("late"))))).toEqual(endedHere)
      yield* expectWaiting(write, end)
      expect(yield* readAll(far)).toEqual(pattern(3000))
      yield* Fiber.join(write)
      yield* Fiber.join(end)
    }))

  it.scoped("stays on its way when the one who waits for it is interrupted", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* start(near.write(pattern(3000)))
      yield* Fiber.interrupt(yield* start(near.end))
      expect(yield* readAll(far)).toEqual(pattern(3000))
    }))

  it.scoped("is over for both sessions when both ways have ended and all is read", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams()
      yield* near.write(bytes("unread at the end"))
      yield* near.end
      yield* far.end
      yield* settle
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
      expect(text(yield* readAll(far))).toBe("unread at the end")
    }))
})

describe("writable", () => {
  it.scoped("sends FIN when its input ends", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* Effect.fork(Stream.run(Stream.make(bytes("a"), bytes("b"), pattern(2000)), near.writable))
      expect(yield* readAll(far)).toEqual(concat([bytes("ab"), pattern(2000)]))
    }))

  it.scoped("sends FIN for an input without elements", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* Stream.run(Stream.empty, near.writable)
      expect(yield* far.read).toEqual(Option.none())
    }))

  const pretences = {
    "its input fails": (near: MuxStream.MuxStream) =>
      Effect.flip(Stream.run(Stream.concat(Stream.make(bytes("a")), Stream.fail("no")), near.writable)),
    "its input dies": (near: MuxStream.MuxStream) =>
      Effect.exit(Stream.run(Stream.concat(Stream.make(bytes("a")), Stream.dieMessage("no")), near.writable)),
    "it is interrupted": (near: MuxStream.MuxStream) =>
      Effect.flatMap(
        start(Stream.run(Stream.concat(Stream.make(bytes("a")), Stream.never), near.writable)),
        Fiber.interrupt
      )
  }
  for (const [name, run] of Object.entries(pretences)) {
    it.scoped(`does not pretend a clean end when ${name}; the stream can be written on`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeStreams()
        yield* run(near)
        expect(text(yield* readSome(far))).toBe("a")
        yield* expectWaiting(yield* start(far.read))
        yield* Stream.run(Stream.make(bytes("b")), near.writable)
        expect(told(yield* Effect.flip(near.write(bytes("c"))))).toEqual(endedHere)
      }))
  }

  it.scoped("fails as write does, and then takes no more", () =>
    Effect.gen(function*() {
      const { near, pair } = yield* makeStreams()
      let pulled = 0
      const input = Stream.repeatEffect(Effect.sync(() => pattern(++pulled)))
      const sink = yield* start(Stream.run(input, near.writable))
      yield* pair.cut
      expect(yield* failureOf(sink)).toMatchObject({ operation: "write", cause: { _tag: "TransportFailure" } })
      const before = pulled
      yield* settle
      expect(pulled).toBe(before)
    }))
})

describe("readable", () => {
  it.scoped("gives one chunk at each pull, so that a consumer that stops loses none", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(dat(1, bytes("ab")), dat(1, bytes("cd")), fin(1))
      const chunks = yield* Stream.runCollect(Stream.chunks(stream.readable))
      expect(Array.from(chunks, (chunk) => text(concat(Chunk.toReadonlyArray(chunk))))).toEqual(["ab", "cd"])
    }))

  it.scoped("goes on where it stopped when it is run again", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      for (const word of ["one", "two", "three"]) {
        yield* near.write(bytes(word))
        yield* settle
        expect(Option.map(yield* Stream.runHead(far.readable), text)).toEqual(Option.some(word))
      }
      yield* near.end
      expect(Chunk.size(yield* Stream.runCollect(far.readable))).toBe(0)
    }))

  it.scoped("loses nothing of what had arrived when only a part of it was taken", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server", { streamBufferSize: 10_000 })
      yield* send(syn(1))
      const stream = yield* session.accept
      const sent = pattern(6000)
      yield* send(
        dat(1, sent.subarray(0, 2000)),
        dat(1, sent.subarray(2000, 4000)),
        dat(1, sent.subarray(4000)),
        fin(1)
      )
      const first = yield* Stream.runCollect(Stream.take(stream.readable, 1))
      const rest = yield* readAll(stream)
      expect(concat([...first, rest])).toEqual(sent)
    }))

  it.scoped("takes nothing when it is interrupted while it waits", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* Fiber.interrupt(yield* start(Stream.runDrain(far.readable)))
      yield* Fiber.interrupt(yield* start(far.read))
      yield* near.write(bytes("kept"))
      expect(text(yield* readSome(far))).toBe("kept")
    }))

  it.scoped("serves several readers in turn, each byte once", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const readers = [yield* start(readSome(far)), yield* start(readSome(far))]
      yield* near.write(bytes("first"))
      yield* settle
      yield* near.write(bytes("second"))
      expect([text(yield* Fiber.join(readers[0]!)), text(yield* Fiber.join(readers[1]!))]).toEqual(["first", "second"])
    }))
})

describe("a stream whose scope is closed", () => {
  const makeLeft = Effect.gen(function*() {
    const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
    return yield* Effect.scoped(Effect.gen(function*() {
      const [stream] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      const read = yield* Effect.forkDaemon(stream.read)
      const write = yield* Effect.forkDaemon(stream.write(pattern(2000)))
      yield* settle
      return { stream, read, write }
    }))
  })

  it.scoped("fails what waits on it", () =>
    Effect.gen(function*() {
      const { read, write } = yield* makeLeft
      expect(told(yield* failureOf(read))).toEqual(["read", 0, undefined])
      expect(told(yield* failureOf(write))).toEqual(["write", 1024, undefined])
    }))

  it.scoped("fails what is tried with it, but for the end, which it has", () =>
    Effect.gen(function*() {
      const { stream } = yield* makeLeft
      expect(told(yield* Effect.flip(stream.read))).toEqual(["read", 0, undefined])
      expect(told(yield* Effect.flip(stream.write(bytes("x"))))).toEqual(endedHere)
      yield* stream.end
    }))
})
