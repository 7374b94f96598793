import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import { BrokenPipe, Stalled } from "effect-wsmux/WsmuxError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { failureOf, quietly, start } from "../../support/observe.js"
import { makeStreams, readAll } from "../../support/sessions.js"

/** A stream of these chunks. */
const giving = (...chunks: ReadonlyArray<string | Uint8Array>) => {
  const left = chunks.map((chunk) => typeof chunk === "string" ? bytes(chunk) : chunk)
  return ByteStream.buffered(ByteStream.make<never>({
    read: Effect.sync(() => Option.fromNullable(left.shift())),
    write: () => Effect.void,
    end: Effect.void
  }))
}

/** All lines up to the end. */
const lines = <R, W>(stream: ByteStream.Buffered<R, W>) =>
  Effect.map(
    Stream.runCollect(Stream.repeatEffectOption(
      Effect.flatMap(Effect.mapError(stream.readLine(), Option.some), Effect.mapError(Option.none<never>))
    )),
    Chunk.toReadonlyArray
  )

describe("ByteStream.buffered", () => {
  it.effect("ByteStream.buffered reads lines across chunks, and then the rest in its chunks", () =>
    Effect.gen(function*() {
      const stream = giving("GET /", " HTTP/1.1\r", "\nhost: a\n\n", "", "body", " and more")
      expect(yield* stream.readLine()).toEqual(Option.some("GET / HTTP/1.1"))
      expect(yield* stream.readLine()).toEqual(Option.some("host: a"))
      expect(yield* stream.readLine()).toEqual(Option.some(""))
      expect(text(yield* readAll(stream))).toBe("body and more")
      expect(yield* stream.readLine()).toEqual(Option.none())
    }))

  it.effect("ByteStream.buffered reads an exact number of bytes across chunks", () =>
    Effect.gen(function*() {
      const stream = giving("ab", "cdef", "g")
      expect(text(yield* stream.readExactly(0))).toBe("")
      expect(text(yield* stream.readExactly(3))).toBe("abc")
      expect(text(yield* stream.readExactly(4))).toBe("defg")
      expect(yield* Effect.flip(stream.readExactly(1))).toEqual(
        new ByteStream.UnexpectedEnd({ wanted: 1, received: 0 })
      )
    }))

  it.effect("ByteStream.buffered reads bytes that were put back before all others", () =>
    Effect.gen(function*() {
      const stream = giving("world\n")
      yield* stream.unread(bytes("lo "))
      yield* stream.unread(bytes("hel"))
      yield* stream.unread(new Uint8Array(0))
      expect(yield* stream.readLine()).toEqual(Option.some("hello world"))
      yield* stream.unread(bytes("again"))
      expect(Option.map(yield* stream.read, text)).toEqual(Option.some("again"))
      expect(yield* stream.read).toEqual(Option.none())
    }))

  it.effect("ByteStream.buffered fails and keeps the bytes when the stream ends within a line", () =>
    Effect.gen(function*() {
      const stream = giving("whole\nhal", "f")
      expect(yield* stream.readLine()).toEqual(Option.some("whole"))
      expect(yield* Effect.flip(stream.readLine())).toEqual(
        new ByteStream.UnexpectedEnd({ wanted: undefined, received: 4 })
      )
      expect(yield* Effect.flip(stream.readExactly(5))).toEqual(
        new ByteStream.UnexpectedEnd({ wanted: 5, received: 4 })
      )
      expect(text(yield* readAll(stream))).toBe("half")
    }))

  it.effect("ByteStream.buffered fails and keeps the bytes when a line exceeds maxBytes", () =>
    Effect.gen(function*() {
      const fits = giving("12345678\n")
      expect(yield* fits.readLine({ maxBytes: 8 })).toEqual(Option.some("12345678"))
      for (const chunks of [["123456789\n"], ["12345", "6789", "not read"]]) {
        const stream = giving(...chunks)
        expect(yield* Effect.flip(stream.readLine({ maxBytes: 8 }))).toEqual(
          new ByteStream.LineTooLong({ maxBytes: 8 })
        )
        expect(text(yield* stream.readExactly(9))).toBe("123456789")
      }
      expect(yield* Effect.flip(giving(pattern(9000).fill(65)).readLine())).toEqual(
        new ByteStream.LineTooLong({ maxBytes: 8192 })
      )
    }))

  it.effect("ByteStream.buffered scans each byte a few times when a line comes in chunks of 1 byte", () =>
    Effect.gen(function*() {
      let looks = 0
      const watched = (byte: number) =>
        Object.defineProperty(new Uint8Array([byte]), "byteLength", { get: () => ++looks && 1 })
      const stream = giving(...Array.from({ length: 4000 }, (_, i) => watched(i === 3999 ? 10 : 65)))
      yield* stream.readLine()
      expect(looks).toBeLessThan(10 * 4000)
    }))

  it.effect("ByteStream.buffered dies when a size is not a non-negative integer", () =>
    Effect.gen(function*() {
      for (const size of [-1, 0.5, NaN, Infinity]) {
        expect(yield* Effect.exit(giving("abc").readExactly(size))).toMatchObject({ cause: { _tag: "Die" } })
      }
    }))

  it.effect.prop(
    "reads the same lines however the bytes are cut into chunks",
    [
      FastCheck.array(FastCheck.string({ unit: "grapheme" }).filter((line) => !/[\r\n]/.test(line))),
      FastCheck.array(FastCheck.integer({ min: 1, max: 7 }), { minLength: 1 })
    ],
    ([expected, sizes]) =>
      Effect.gen(function*() {
        const all = bytes(expected.map((line) => `${line}\r\n`).join(""))
        const chunks: Array<Uint8Array> = []
        for (let at = 0, i = 0; at < all.byteLength; i++) {
          const size = sizes[i % sizes.length]!
          chunks.push(all.subarray(at, at + size))
          at += size
        }
        expect(yield* lines(giving(...chunks))).toEqual(expected)
      })
  )

  it.effect("ByteStream.buffered names the received bytes in its error messages", () =>
    Effect.gen(function*() {
      const messages = [
        yield* Effect.flip(giving("ab").readExactly(4)),
        yield* Effect.flip(giving("ab").readLine()),
        yield* Effect.flip(giving("abc\n").readLine({ maxBytes: 2 }))
      ].map(({ message }) => message)
      expect(messages).toEqual([
        "unexpected end: the stream ended before 4 bytes, after 2 bytes",
        "unexpected end: the stream ended in the middle of a line, after 2 bytes",
        "line too long: it has no end within 2 bytes"
      ])
    }))

  it.scoped("ByteStream.buffered loses no bytes when a read is interrupted within a line", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      const stream = ByteStream.buffered(near)
      const reading = yield* start(stream.readLine())
      yield* far.write(bytes("hel"))
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      yield* Fiber.interrupt(reading)
      yield* far.write(bytes("lo\n"))
      expect(yield* stream.readLine()).toEqual(Option.some("hello"))
    }))

  it.scoped("ByteStream.buffered fails with the error of the stream when it is lost after a header", () =>
    Effect.gen(function*() {
      const { far, near, pair } = yield* makeStreams(quietly())
      const stream = ByteStream.buffered(near)
      yield* far.write(bytes("header\n"))
      expect(yield* stream.readLine()).toEqual(Option.some("header"))
      yield* pair.cut
      expect(yield* Effect.flip(stream.readLine())).toBeInstanceOf(BrokenPipe)
      expect(yield* Effect.flip(Stream.runDrain(stream.readable))).toBeInstanceOf(BrokenPipe)
    }))

  it.scoped("ByteStream.buffered is joined with its unread bytes and the stall time-out of its stream", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      yield* near.write(bytes("header\nbody"))
      yield* near.end
      const taken: Array<Uint8Array> = []
      const other = ByteStream.make<never>({
        read: Effect.succeed(Option.some(pattern(500))),
        write: (chunk) => Effect.zipRight(Effect.sync(() => taken.push(chunk)), Effect.never),
        end: Effect.void
      })
      const stream = ByteStream.buffered(ByteStream.buffered(far))
      expect(yield* stream.readLine()).toEqual(Option.some("header"))
      const joined = yield* start(ByteStream.join(stream, other, { stallTimeout: "10 seconds" }))
      expect(text(concat(taken))).toBe("body")
      yield* TestClock.adjust("10 seconds")
      expect(yield* failureOf(joined)).toEqual(new Stalled({ afterMillis: 10_000 }))
    }))
})
