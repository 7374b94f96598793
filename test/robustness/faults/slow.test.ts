import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { concat, pattern } from "../../support/bytes.js"
import { readSome } from "../../support/sessions.js"
import { makeLink, type Options } from "./links.js"
import type { Direction } from "./proxy.js"

const rate = 20 * 1024
const frame = 64 * 1024

/** Makes streams over a link of that rate, each with the end that writes in this direction and the end that reads. */
const makePairs = (direction: Direction, options: Options) =>
  Effect.map(makeLink({ ...options, proxy: { rate } }), ({ client, proxy, server }) => {
    const pair = Effect.map(
      Effect.all([client.open(), server.accept], { concurrency: 2 }),
      ([near, far]) => direction === "up" ? { writer: near, reader: far } : { writer: far, reader: near }
    )
    return { client, server, proxy, pair }
  })

/** Writes chunks that fill every window, until the scope closes. */
const flood = (writer: MuxStream) => Effect.forkScoped(Effect.forever(writer.write(pattern(frame))))

describe("a link of 20 KiB/s", () => {
  for (const direction of ["up", "down"] as const) {
    it.scopedLive(`session lives for six keep-alive intervals when large frames fill a slow link ${direction}`, () =>
      Effect.gen(function*() {
        const options = { keepAliveInterval: "1 second", streamBufferSize: 16 * frame } as const
        const { client, pair, server } = yield* makePairs(direction, options)
        const { reader, writer } = yield* pair
        yield* flood(writer)
        const since = performance.now()
        const chunks: Array<Uint8Array> = []
        for (let size = 0; size < 2 * frame; size += chunks.at(-1)!.byteLength) chunks.push(yield* readSome(reader))
        const read = concat(chunks).subarray(0, 2 * frame)
        expect(Buffer.compare(read, concat([pattern(frame), pattern(frame)]))).toBe(0)
        expect(performance.now() - since).toBeGreaterThan(6000)
        expect([yield* client.isClosed, yield* server.isClosed]).toEqual([false, false])
      }))
  }

  const windows = {
    "the default window": undefined,
    "a window of 8 KiB": 8192,
    "the tunnel's window of 256 KiB": 256 * 1024
  }
  for (const [name, streamBufferSize] of Object.entries(windows)) {
    for (const direction of ["up", "down"] as const) {
      it.scopedLive(`stream delivers key strokes ${direction} within 1 s when a bulk stream has ${name}`, () =>
        Effect.gen(function*() {
          const options = streamBufferSize === undefined ? {} : { streamBufferSize }
          const { pair, proxy } = yield* makePairs(direction, options)
          const [bulk, keys] = yield* Effect.all([pair, pair])
          yield* flood(bulk.writer)
          let read = 0
          const drain = Stream.runForEach(bulk.reader.readable, ({ byteLength }) =>
            Effect.sync(() => {
              read += byteLength
            }))
          yield* Effect.forkScoped(drain)

          const waits: Array<number> = []
          const stroke = Effect.gen(function*() {
            yield* Effect.sleep("150 millis") // the speed of a typist
            const before = performance.now()
            yield* keys.writer.write(pattern(64))
            yield* readSome(keys.reader)
            waits.push(performance.now() - before)
          })
          const before = proxy.passed(direction)
          yield* Effect.repeatN(stroke, 10)
          waits.sort((a, b) => a - b)
          expect(waits.at(-2)).toBeLessThan(1000) // another process may hold this one up once
          expect(read).toBeGreaterThan(0.7 * (proxy.passed(direction) - before))
        }))
    }
  }
})
