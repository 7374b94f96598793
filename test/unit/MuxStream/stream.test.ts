import { describe, expect, it } from "@effect/vitest"
import * as MuxStream from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import { type ReadError, StreamReset, type WriteError } from "effect-wsmux/WsmuxError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, plainly, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, makeStreams, type Options, readAll, readSome, settle } from "../../support/sessions.js"

/** Returns the operation, the sent bytes and the cause of a broken pipe. */
const told = (error: ReadError | WriteError) =>
  error._tag === "BrokenPipe" ? [error.operation, error.written, error.cause] : error

const { ResetCode } = MuxStream

const endedHere = ["write", 0, undefined]

describe("MuxStream", () => {
  it.scoped("MuxStream carries bytes both ways, each way up to its own FIN", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const sent = pattern(100_000)
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      yield* Effect.fork(Effect.zipRight(near.write(sent), near.end))
      expect(yield* readAll(near)).toEqual(sent)
    }))

  it.scoped("isMuxStream and isSession recognise their own objects only", () =>
    Effect.gen(function*() {
      const { client, near } = yield* makeStreams()
      expect([near, client, null, {}].map(MuxStream.isMuxStream)).toEqual([true, false, false, false])
      expect([near, client, null, {}].map(Session.isSession)).toEqual([false, true, false, false])
    }))

  it.scoped("MuxStream.write copies its chunk before it completes", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const chunk = bytes("first")
      yield* near.write(chunk)
      chunk.set(bytes("other"))
      expect(text(yield* readSome(far))).toBe("first")
    }))
})

describe("MuxStream.end", () => {
  it.scoped("MuxStream.end ends one direction, and the other direction goes on", () =>
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

  it.scoped("MuxStream.read returns the end again after the peer's FIN", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* near.end
      expect([yield* far.read, yield* far.read, yield* readAll(far)]).toEqual([
        Option.none(),
        Option.none(),
        new Uint8Array(0)
      ])
    }))

  it.scoped("MuxStream.read returns the end to each waiting reader when the FIN arrives", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const readers = [yield* start(far.read), yield* start(far.read)]
      yield* near.end
      for (const reader of readers) expect(yield* Fiber.join(reader)).toEqual(Option.none())
    }))

  it.scoped("MuxStream.end sends one FIN when it is called several times", () =>
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

  it.scoped("MuxStream.write fails without a cause after end, even when the chunk is empty", () =>
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

  it.scoped("MuxStream.end follows waiting writes, and fails new writes at once", () =>
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

  it.scoped("MuxStream.end still sends FIN when its caller is interrupted", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* start(near.write(pattern(3000)))
      yield* Fiber.interrupt(yield* start(near.end))
      expect(yield* readAll(far)).toEqual(pattern(3000))
    }))

  it.scoped("Session removes a stream when both ends have sent FIN, and its bytes stay readable", () =>
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

describe("MuxStream.writable", () => {
  it.scoped("MuxStream.writable sends FIN when its input ends", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* Effect.fork(Stream.run(Stream.make(bytes("a"), bytes("b"), pattern(2000)), near.writable))
      expect(yield* readAll(far)).toEqual(concat([bytes("ab"), pattern(2000)]))
    }))

  it.scoped("MuxStream.writable sends FIN when its input is empty", () =>
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
    it.scoped(`MuxStream.writable sends no FIN and allows later writes when ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeStreams(plainly())
        yield* run(near)
        expect(text(yield* readSome(far))).toBe("a")
        yield* expectWaiting(yield* start(far.read))
        yield* Stream.run(Stream.make(bytes("b")), near.writable)
        expect(told(yield* Effect.flip(near.write(bytes("c"))))).toEqual(endedHere)
      }))
  }

  it.scoped("MuxStream.writable fails as write does, and pulls no more input", () =>
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

describe("MuxStream.readable", () => {
  it.scoped("MuxStream.readable emits one chunk at each pull", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(dat(1, bytes("ab")), dat(1, bytes("cd")), fin(1))
      const chunks = yield* Stream.runCollect(Stream.chunks(stream.readable))
      expect(Array.from(chunks, (chunk) => text(concat(Chunk.toReadonlyArray(chunk))))).toEqual(["ab", "cd"])
    }))

  it.scoped("MuxStream.readable goes on at the next byte when it is run again", () =>
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

  it.scoped("MuxStream.read returns the rest when readable has taken a part of the arrived bytes", () =>
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

  it.scoped("MuxStream.readable and read take no bytes when interrupted while they wait", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* Fiber.interrupt(yield* start(Stream.runDrain(far.readable)))
      yield* Fiber.interrupt(yield* start(far.read))
      yield* near.write(bytes("kept"))
      expect(text(yield* readSome(far))).toBe("kept")
    }))

  it.scoped("MuxStream.read serves waiting readers in turn, each byte once", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const readers = [yield* start(readSome(far)), yield* start(readSome(far))]
      yield* near.write(bytes("first"))
      yield* settle
      yield* near.write(bytes("second"))
      expect([text(yield* Fiber.join(readers[0]!)), text(yield* Fiber.join(readers[1]!))]).toEqual(["first", "second"])
    }))
})

describe("MuxStream", () => {
  const makeLeft = Effect.fnUntraced(function*(options: Options = plainly()) {
    const { client, server } = yield* makeSessions(options)
    yield* settle
    return yield* Effect.scoped(Effect.gen(function*() {
      const [stream] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      const read = yield* Effect.forkDaemon(stream.read)
      const write = yield* Effect.forkDaemon(stream.write(pattern(2000)))
      yield* settle
      return { stream, read, write }
    }))
  })

  const resetHere = (operation: "read" | "write", written = 0) =>
    new StreamReset({ streamId: 1, operation, by: "local", code: ResetCode.Cancelled, reason: "", written })

  it.scoped("MuxStream of a native peer resets itself when its scope closes while a write waits", () =>
    Effect.gen(function*() {
      const { read, stream, write } = yield* makeLeft(quietly())
      expect(yield* failureOf(read)).toEqual(resetHere("read"))
      expect(yield* failureOf(write)).toEqual(resetHere("write", 1024))
      expect(yield* Effect.flip(stream.read)).toEqual(resetHere("read"))
      expect(yield* Effect.flip(stream.write(bytes("x")))).toEqual(resetHere("write"))
      expect(yield* Effect.flip(stream.end)).toEqual(resetHere("write"))
    }))

  it.scoped("MuxStream fails waiting operations with BrokenPipe when its scope closes", () =>
    Effect.gen(function*() {
      const { read, write } = yield* makeLeft()
      expect(told(yield* failureOf(read))).toEqual(["read", 0, undefined])
      expect(told(yield* failureOf(write))).toEqual(["write", 1024, undefined])
    }))

  it.scoped("MuxStream fails later operations except end when its scope has closed", () =>
    Effect.gen(function*() {
      const { stream } = yield* makeLeft()
      expect(told(yield* Effect.flip(stream.read))).toEqual(["read", 0, undefined])
      expect(told(yield* Effect.flip(stream.write(bytes("x"))))).toEqual(endedHere)
      yield* stream.end
    }))
})
