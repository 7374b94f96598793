import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import { type MuxStream, withOperations } from "effect-wsmux/MuxStream"
import { BrokenPipe } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { bytes, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, quietly, start } from "../../support/observe.js"
import { dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeStreams, readSome } from "../../support/sessions.js"

/** A stream of a session, and the same operations in an object of the program's own. */
const kinds: ReadonlyArray<readonly [name: string, of: (stream: MuxStream) => MuxStream]> = [
  ["a stream of a session", (stream) => stream],
  ["other operations", (stream) => withOperations(stream, {})]
]

const ended = (operation: "read" | "write") =>
  new BrokenPipe({ streamId: 1, operation, reason: "StreamEnded", written: 0 })

for (const [name, of] of kinds) {
  const makeEnds = Effect.map(makeStreams(quietly()), ({ client, far, near }) => ({ client, far, near: of(near) }))

  describe(`ByteStream.readAll of ${name}`, () => {
    it.scoped(`ByteStream.readAll reads all chunks up to the end when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const reading = yield* start(ByteStream.readAll(near))
        for (const chunk of ["ab", "c", "def"]) yield* Effect.zipRight(far.write(bytes(chunk)), readable)
        yield* expectWaiting(reading)
        yield* far.end
        expect(text(yield* Fiber.join(reading))).toBe("abcdef")
        expect(yield* ByteStream.readAll(near)).toEqual(new Uint8Array(0))
      }))

    it.scoped(`ByteStream.readAll fails with StreamTooLong beyond maxBytes when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        yield* Effect.zipRight(far.write(bytes("abcd")), far.end)
        expect(yield* Effect.flip(ByteStream.readAll(near, { maxBytes: 3 })))
          .toEqual(new ByteStream.StreamTooLong({ maxBytes: 3 }))
        const other = yield* makeEnds
        yield* Effect.zipRight(other.far.write(bytes("abc")), other.far.end)
        expect(text(yield* ByteStream.readAll(other.near, { maxBytes: 3 }))).toBe("abc")
      }))

    it.scoped(`ByteStream.readAll reads 1 MiB and no more by default when the stream is ${name}`, () =>
      Effect.gen(function*() {
        for (const more of [0, 1]) {
          const { far, near } = yield* makeEnds
          const reading = yield* start(ByteStream.readAll(near))
          yield* Effect.fork(Effect.zipRight(far.write(new Uint8Array(1024 * 1024 + more)), far.end))
          if (more === 0) expect((yield* Fiber.join(reading)).byteLength).toBe(1024 * 1024)
          else expect((yield* failureOf(reading))._tag).toBe("StreamTooLong")
        }
      }))

    it.scoped(`ByteStream.readAll fails with the loss when the session ends and the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { client, far, near } = yield* makeEnds
        yield* far.write(bytes("abc"))
        const reading = yield* start(ByteStream.readAll(near))
        yield* client.close
        expect(yield* failureOf(reading)).toMatchObject({ _tag: "BrokenPipe", reason: "SessionEnded" })
      }))

    it.scoped(`ByteStream.readAll takes no later bytes when interrupted and the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        yield* far.write(bytes("lost"))
        yield* Fiber.interrupt(yield* start(ByteStream.readAll(near)))
        yield* far.write(bytes("kept"))
        expect(text(yield* readSome(near))).toBe("kept")
      }))

    it.scoped(`ByteStream.readText and readLines decode UTF-8 across chunks when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const given = "zwölf\r\n\n𝄞 drei"
        const send = (far: MuxStream) =>
          Effect.zipRight(Effect.forEach(bytes(given), (byte) => far.write(Uint8Array.of(byte))), far.end)
        const [first, second, third] = [yield* makeEnds, yield* makeEnds, yield* makeEnds]
        yield* Effect.zipRight(send(first.far), send(second.far))
        expect(yield* ByteStream.readText(first.near)).toBe(given)
        expect(yield* ByteStream.readLines(second.near)).toEqual(["zwölf", "", "𝄞 drei"])
        yield* Effect.zipRight(third.far.write(bytes("one\n")), third.far.end)
        expect(yield* ByteStream.readLines(third.near)).toEqual(["one"])
        expect(yield* ByteStream.readLines(third.near)).toEqual([])
      }))
  })

  describe(`ByteStream.forEach of ${name}`, () => {
    it.scoped(`ByteStream.forEach passes each chunk to a function when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const seen: Array<string> = []
        const reading = yield* start(ByteStream.forEach(near, (chunk) => seen.push(text(chunk))))
        for (const chunk of ["a", "b"]) yield* Effect.zipRight(far.write(bytes(chunk)), readable)
        yield* far.end
        yield* Fiber.join(reading)
        expect(seen).toEqual(["a", "b"])
      }))

    it.scoped(`ByteStream.forEach takes no chunk while an effect runs when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const latch = yield* Effect.makeLatch()
        const seen: Array<string> = []
        const step = (chunk: Uint8Array) => Effect.zipRight(Effect.sync(() => seen.push(text(chunk))), latch.await)
        const reading = yield* start(ByteStream.forEach(step)(near))
        for (const chunk of ["a", "b"]) yield* Effect.zipRight(far.write(bytes(chunk)), readable)
        expect(seen).toEqual(["a"])
        yield* latch.open
        yield* far.end
        yield* Fiber.join(reading)
        expect(seen).toEqual(["a", "b"])
      }))

    it.scoped(`ByteStream.forEach leaves the rest unread when an effect fails and the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const reading = yield* start(ByteStream.forEach(near, (chunk) => Effect.fail(text(chunk))))
        for (const chunk of ["a", "b"]) yield* Effect.zipRight(far.write(bytes(chunk)), readable)
        expect(yield* failureOf(reading)).toBe("a")
        expect(text(yield* readSome(near))).toBe("b")
      }))

    it.scoped(`ByteStream.forEach makes a throw of the function a defect when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        yield* far.write(bytes("a"))
        const thrown = new Error("thrown")
        const defect = ByteStream.forEach(near, () => {
          throw thrown
        })
        expect(yield* Effect.flip(Effect.sandbox(defect))).toMatchObject({ _tag: "Die", defect: thrown })
      }))

    it.scoped(`ByteStream.forEach echoes a megabyte when the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        yield* Effect.fork(Effect.zipRight(ByteStream.forEach(near, near.write), near.end))
        const sent = pattern(1_000_000)
        const [back] = yield* Effect.all(
          [ByteStream.readAll(far), ByteStream.writeEnd(far, sent)],
          { concurrency: 2 }
        )
        expect(Buffer.compare(back, sent)).toBe(0)
      }))
  })

  describe(`ByteStream.writeEnd of ${name}`, () => {
    it.scoped(`ByteStream.writeEnd writes bytes or text, then ends, when the stream is ${name}`, () =>
      Effect.gen(function*() {
        for (const data of ["zwölf", bytes("zwölf"), "", new Uint8Array(0)]) {
          const { far, near } = yield* makeEnds
          yield* ByteStream.writeEnd(near, data)
          expect(yield* ByteStream.readText(far)).toBe(data.length === 0 ? "" : "zwölf")
          expect(yield* Effect.flip(ByteStream.writeEnd(data)(near))).toEqual(ended("write"))
        }
      }))

    it.scoped(`ByteStream.writeEnd sends no end when it is interrupted and the stream is ${name}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer("server", { ...quiet, initialSendCredit: 2 })
        yield* send(syn(1))
        const near = of(yield* session.accept)
        const writing = yield* start(ByteStream.writeEnd(near, "abc"))
        yield* Fiber.interrupt(writing)
        yield* send({ _tag: "Ack", id: 1, credit: 100 })
        expect((yield* frames).slice(1)).toEqual([dat(1, bytes("ab"))])
        yield* near.end
        expect(yield* frames).toEqual([fin(1)])
      }))
  })
}

/** Lets the reader take what was written, so that the next chunk is one of its own. */
const readable = Effect.yieldNow().pipe(Effect.repeatN(50))

describe("ByteStream", () => {
  it("ByteStream.StreamTooLong tells its limit", () => {
    expect(new ByteStream.StreamTooLong({ maxBytes: 3 }).message)
      .toBe("stream too long: it has no end within 3 bytes")
  })
})
