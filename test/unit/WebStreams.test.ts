import { describe, expect, it } from "@effect/vitest"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as WebStreams from "effect-wsmux/WebStreams"
import { BrokenPipe } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { bytes, concat, pattern, text } from "../support/bytes.js"
import { plainly } from "../support/observe.js"
import { makeStreams, readAll, readSome } from "../support/sessions.js"
import { wired } from "../support/transports.js"

const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)
const collect = async (readable: ReadableStream) => new Uint8Array(await new Response(readable).arrayBuffer())
/** The platform's types for transformations accept fewer chunks than the transformations do. */
const through = (transform: unknown) => transform as ReadableWritablePair<Uint8Array, Uint8Array>

/** A stream as web streams, and the peer's `MuxStream`. */
const makePair = (streamBufferSize = 1024, options?: WebStreams.Options) =>
  Effect.gen(function*() {
    const config = { streamBufferSize }
    const streams = yield* makeStreams(plainly({ client: config, server: config }))
    return { ...streams, ...yield* WebStreams.fromMuxStream(streams.near, options) }
  })

describe("WebStreams.fromMuxStream", () => {
  it.scopedLive("WebStreams.fromMuxStream carries bytes both ways, each to its own end", () =>
    Effect.gen(function*() {
      const { far, readable, writable } = yield* makePair()
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      const sent = pattern(100_000)
      const writing = new Blob([new Uint8Array(sent)]).stream().pipeTo(writable)
      expect(yield* promise(() => collect(readable))).toEqual(sent)
      yield* promise(() => writing)
    }))

  for (const [size, byob] of [[300, true], [5000, true], [9000, true], [9000, false]] as const) {
    const kind = byob ? "a byte stream" : "a plain stream"
    it.scopedLive(`WebStreams.fromMuxStream keeps other messages of a buffer intact: ${size} bytes, ${kind}`, () =>
      Effect.gen(function*() {
        const ends = yield* wired["ws"]!()
        const config = { streamBufferSize: 64 * 1024 }
        const client = yield* Effect.provideService(Session.makeClient(config), Transport, ends.client)
        const server = yield* Effect.provideService(Session.makeServer(config), Transport, ends.server)
        const pairs = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i),
          () => Effect.all([client.open(), server.accept], { concurrency: 2 })
        )
        yield* Effect.forEach(pairs, ([near], i) => Effect.zipRight(near.write(pattern(size, i)), near.end))
        const received = yield* Effect.forEach(
          pairs,
          ([, far]) =>
            Effect.flatMap(WebStreams.fromMuxStream(far, { byob }), ({ readable }) => promise(() => collect(readable)))
        )
        expect(received).toEqual(pairs.map((_, i) => pattern(size, i)))
      }))
  }

  it.scopedLive("WebStreams.fromMuxStream works with TransformStreams of the platform", () =>
    Effect.gen(function*() {
      const { far, readable, writable } = yield* makePair()
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      const writing = new Blob(["x".repeat(50_000)]).stream().pipeThrough(through(new CompressionStream("gzip")))
        .pipeTo(
          writable
        )
      const back = yield* promise(() => collect(readable.pipeThrough(through(new DecompressionStream("gzip")))))
      expect(text(back)).toBe("x".repeat(50_000))
      yield* promise(() => writing)
    }))

  it.scopedLive("WebStreams.fromMuxStream fills the reader's own buffer when it is a byte stream", () =>
    Effect.gen(function*() {
      const { far, readable } = yield* makePair(1024, { byob: true })
      yield* far.write(bytes("hello world"))
      yield* far.end
      const reader = readable.getReader({ mode: "byob" })
      const parts: Array<string> = []
      for (;;) {
        const { done, value } = yield* promise(() => reader.read(new Uint8Array(4)))
        if (done) break
        parts.push(text(value))
      }
      expect(parts).toEqual(["hell", "o wo", "rld"])
    }))

  it.scopedLive("WebStreams.fromMuxStream reads nothing ahead, and slows a writer for a slow peer", () =>
    Effect.gen(function*() {
      const { client, far, readable, writable } = yield* makePair()
      yield* far.write(pattern(1000))
      yield* Effect.yieldNow()
      expect((yield* client.snapshot).streams[0]!.bufferedBytes).toBe(1000)
      expect(readable.locked).toBe(false)
      const writer = writable.getWriter()
      let written = false
      const writing = writer.write(pattern(3000)).then(() => {
        written = true
      })
      yield* Effect.sleep(10)
      expect(written).toBe(false)
      void writer.close()
      expect((yield* readAll(far)).length).toBe(3000)
      yield* promise(() => writing)
    }))

  it.scopedLive("WebStreams.fromMuxStream fails with the errors of the stream", () =>
    Effect.gen(function*() {
      const { pair, readable, writable } = yield* makePair()
      const reading = readable.getReader().read().catch((error: unknown) => error)
      const writing = writable.getWriter().write(pattern(3000)).catch((error: unknown) => error)
      yield* Effect.yieldNow()
      yield* pair.cut
      expect(yield* promise(() => reading)).toBeInstanceOf(BrokenPipe)
      expect(yield* promise(() => writing)).toBeInstanceOf(BrokenPipe)
    }))

  it.scopedLive("WebStreams.fromMuxStream sends no FIN when aborted or cancelled, until its scope closes", () =>
    Effect.gen(function*() {
      const { far, near, readable, writable } = yield* makePair()
      yield* promise(() => writable.abort("enough"))
      yield* promise(() => readable.cancel())
      yield* near.write(bytes("still open"))
      yield* near.end
      expect(text(yield* readAll(far))).toBe("still open")
    }))

  it.scopedLive("WebStreams.fromMuxStream fails with AbortError when its scope closes", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(plainly())
      const { readable, writable } = yield* Effect.scoped(WebStreams.fromMuxStream(near))
      const reading = yield* promise(() => readable.getReader().read().catch((error: Error) => error.name))
      const writing = yield* promise(() => writable.getWriter().write(bytes("x")).catch((error: Error) => error.name))
      expect([reading, writing]).toEqual(["AbortError", "AbortError"])
    }))

  it.scopedLive("WebStreams.fromMuxStream takes all views and buffers, and fails when a chunk is not bytes", () =>
    Effect.gen(function*() {
      const { far, near, writable } = yield* makePair()
      const writer = writable.getWriter() as WritableStreamDefaultWriter<unknown>
      const sent = bytes("abcdefgh")
      const chunks = [sent.slice(0, 2), sent.slice(2, 4).buffer, new DataView(sent.buffer, 4, 2), Buffer.from("gh")]
      yield* promise(() => Promise.all(chunks.map((chunk) => writer.write(chunk))))
      expect(yield* promise(() => writer.write("text").catch((error: unknown) => error))).toBeInstanceOf(TypeError)
      expect(yield* promise(() => writer.close().catch((error: unknown) => error))).toBeInstanceOf(TypeError)
      yield* near.end // the stream itself is still usable
      expect(text(yield* readAll(far))).toBe("abcdefgh")
    }))

  it.scopedLive("WebStreams.fromMuxStream reads no chunk when it was cancelled, in any region", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const { readable, writable } = yield* Effect.uninterruptible(WebStreams.fromMuxStream(near))
      const reader = readable.getReader()
      const read = reader.read()
      yield* promise(() => reader.cancel())
      expect(yield* promise(() => read)).toEqual({ done: true, value: undefined })
      const writer = writable.getWriter()
      const written = writer.write(pattern(5000)).catch((error: unknown) => error)
      yield* Effect.sleep("1 millis")
      yield* promise(() => writer.abort("enough"))
      expect(yield* promise(() => written)).toBe("enough")
      yield* far.write(bytes("for the next reader"))
      expect(text(yield* readSome(near))).toBe("for the next reader")
    }))

  it.scopedLive("WebStreams.fromMuxStream keeps the rest when the buffer of a reader is too small", () =>
    Effect.gen(function*() {
      const { far, near, readable } = yield* makePair(1024, { byob: true })
      const left = readable.getReader({ mode: "byob" })
      const never = left.read(new Uint8Array(3)).catch((error: unknown) => error)
      yield* Effect.sleep("1 millis") // it has asked the stream for bytes
      left.releaseLock()
      expect(yield* promise(() => never)).toBeInstanceOf(TypeError)
      yield* far.write(bytes("0123456789"))
      const small = readable.getReader({ mode: "byob" })
      const { value } = yield* promise(() => small.read(new Uint8Array(4)))
      small.releaseLock()
      yield* far.end
      const rest: Array<Uint8Array> = []
      yield* promise(() => readable.pipeTo(new WritableStream({ write: (chunk) => void rest.push(chunk) })))
      expect(text(concat([value!, ...rest]))).toBe("0123456789")
      yield* near.end
    }))
})
