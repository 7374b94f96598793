import { expect } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import type { Session } from "effect-wsmux/Session"
import type { ReadError, WriteError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { bytes, concat, pattern } from "../../support/bytes.js"
import { readAll, readSome } from "../../support/sessions.js"
import type { Link } from "./links.js"

export type Service = "echo" | "sink" | "source"

/**
 * The services of the Go peer's flag `-serve`, for streams that Go opened.
 *
 * - `echo` copies all bytes back
 * - `sink` reads to the end and answers with the SHA-256
 * - `source` reads a number of bytes, and sends that many bytes and their SHA-256
 */
export const services: Record<Service, (stream: MuxStream) => Effect.Effect<unknown, ReadError | WriteError>> = {
  echo: (stream) => Stream.run(stream.readable, stream.writable),
  sink: (stream) => Effect.flatMap(digest(stream), ({ sha256 }) => send(stream, bytes(sha256))),
  source: (stream) =>
    Effect.gen(function*() {
      const request = yield* readExactly(stream, 8)
      const content = pattern(Number(Buffer.from(request).readBigUInt64LE()))
      yield* send(stream, content, bytes(sha256(content)))
      // the end of Go comes after this one
      expect((yield* digest(stream)).length).toBe(0)
    })
}

/** The client of each service: asks the service of Go on an opened stream, and checks the answer. */
export const loads: Record<
  Service,
  (stream: MuxStream, size: number, seed: number) => Effect.Effect<void, ReadError | WriteError>
> = {
  echo: (stream, size, seed) =>
    Effect.gen(function*() {
      const content = pattern(size, seed)
      const [, back] = yield* Effect.all([send(stream, content), digest(stream)], { concurrency: 2 })
      expect(back).toEqual(digestOf(content))
    }),
  sink: (stream, size, seed) =>
    Effect.gen(function*() {
      const content = pattern(size, seed)
      yield* send(stream, content)
      expect(Buffer.from(yield* readAll(stream)).toString()).toBe(sha256(content))
    }),
  source: (stream, size) =>
    Effect.gen(function*() {
      yield* stream.write(request(size))
      const content = pattern(size)
      expect(yield* digest(stream)).toEqual(digestOf(concat([content, bytes(sha256(content))])))
      yield* stream.end
    })
}

/** Opens streams to Go at the same time, each with content of its own, and runs the load on each stream. */
export const openMany = (session: Session, service: Service, streams: number, size: number) =>
  Effect.forEach(
    Array.from({ length: streams }, (_, i) => i + 1),
    (seed) => Effect.scoped(Effect.flatMap(session.open(), (stream) => loads[service](stream, size, seed))),
    { concurrency: "unbounded", discard: true }
  )

/** Serves the streams of Go until the load of Go is done. All of it must succeed in one round. */
export const serveMany = ({ go, session }: Link, service: Service, streams: number, size: number) =>
  Effect.gen(function*() {
    yield* Effect.forkScoped(session.run(services[service]))
    const { seconds: _, ...result } = yield* go.next("result")
    expect(result).toEqual({
      event: "result",
      streams,
      bytes: streams * size,
      ok: true,
      failed: 0,
      errors: [],
      rounds: 1
    })
  })

/** Checks that the session is open and has counted no fault of its peer. */
export const expectNoFaults = (session: Session) =>
  Effect.map(
    session.snapshot,
    (
      { closed, counters: { creditOverflows: clamped, duplicateSyns: duplicates, windowOverruns: overruns, refused } }
    ) =>
      expect({ closed, clamped, duplicates, overruns, refused }).toEqual({
        closed: false,
        clamped: 0,
        duplicates: 0,
        overruns: 0,
        refused: 0
      })
  )

/** The request of the service `source`. */
export const request = (size: number): Uint8Array => {
  const message = Buffer.alloc(8)
  message.writeBigUInt64LE(BigInt(size))
  return message
}

/** Writes through the stream's sink, in pieces that are larger than a window, and ends the stream. */
export const send = (stream: MuxStream, ...contents: ReadonlyArray<Uint8Array>) =>
  Stream.run(Stream.fromIterable(contents.flatMap(pieces)), stream.writable)

export interface Digest {
  readonly length: number
  readonly sha256: string
}

/** Reads a stream to its end. */
export const digest = (stream: MuxStream): Effect.Effect<Digest, ReadError> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    let length = 0
    const add = (chunk: Uint8Array) =>
      Effect.sync(() => {
        hash.update(chunk)
        length += chunk.byteLength
      })
    return Effect.map(Stream.runForEach(stream.readable, add), () => ({ length, sha256: hash.digest("hex") }))
  })

export const digestOf = (content: Uint8Array): Digest => ({ length: content.byteLength, sha256: sha256(content) })

export const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex")

const pieceSize = 50_000

const pieces = (content: Uint8Array): Array<Uint8Array> =>
  Array.from(
    { length: Math.ceil(content.byteLength / pieceSize) },
    (_, i) => content.subarray(i * pieceSize, (i + 1) * pieceSize)
  )

const readExactly = (stream: MuxStream, length: number) =>
  Effect.gen(function*() {
    let content: Uint8Array = new Uint8Array()
    while (content.byteLength < length) content = concat([content, yield* readSome(stream)])
    expect(content.byteLength).toBe(length)
    return content
  })
