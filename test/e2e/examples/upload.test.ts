import { expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/**
 * In the page: sends a file that the user has picked, and shows how much the server has stored. A write completes when
 * the server has room, so the page holds no queue. The server reports the bytes that it has stored.
 */
const upload = (session: Session.Session, file: Blob, show: (share: number) => void) =>
  Effect.gen(function*() {
    const stream = yield* session.open()
    const chunks = Stream.fromReadableStream(() => file.stream(), (cause) => cause)
    const progress = stream.readable.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((taken) => Effect.sync(() => show(Number(taken) / file.size)))
    )
    yield* Effect.all([Stream.run(chunks, stream.writable), progress], { concurrency: 2 })
  }).pipe(Effect.scoped)

/** On the server: stores each chunk, and reports the stored bytes after each. */
const receive = (store: (chunk: Uint8Array) => Effect.Effect<void>) => (stream: MuxStream) => {
  let taken = 0
  return stream.readable.pipe(
    Stream.tap(store),
    Stream.map((chunk) => `${taken += chunk.byteLength}\n`),
    Stream.encodeText,
    Stream.run(stream.writable)
  )
}

it.scopedLive("page shows the progress of the server when it uploads a file", () =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair({ ping: false }) // as in a browser
    const page = yield* Effect.provideService(Session.makeClient(), Transport, pair.client)
    const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
    const stored: Array<Uint8Array> = []
    yield* Effect.fork(server.run(receive((chunk) => Effect.sync(() => stored.push(chunk)))))

    const file = new Blob(["all that the user has written ".repeat(1000)])
    const shares: Array<number> = []
    yield* upload(page, file, (share) => shares.push(share))
    expect(yield* Effect.promise(() => new Blob(stored as Array<BlobPart>).text())).toBe(
      "all that the user has written ".repeat(1000)
    )
    expect(shares.length).toBeGreaterThan(10)
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    expect(shares.at(-1)).toBe(1)
  }))
