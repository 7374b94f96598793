import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { pattern } from "../../support/bytes.js"
import { readAll } from "../../support/sessions.js"
import type { Connect } from "./links.js"
import { digest, digestOf, expectNoFaults, openMany, request, send, serveMany } from "./traffic.js"

const buffers = [1024, 4096, 65536]
const services = ["echo", "sink", "source"] as const

/**
 * Runs every service with small and large windows, one and many streams, opened by either end. Each of many streams
 * carries `windows` windows.
 */
export const carriesEverything = (connect: Connect, peer?: string, windows = 4): void => {
  for (const service of services) {
    for (const buffer of buffers) {
      for (const streams of [1, 100]) {
        const size = streams === 1 ? buffer * 16 : buffer * windows
        carries(connect, service, buffer, streams, size, peer)
      }
    }
  }
}

/** Runs one service with streams of the session and with streams of Go. */
export const carries = (
  connect: Connect,
  service: typeof services[number],
  buffer: number,
  streams: number,
  size: number,
  peer = "Go"
): void => {
  const what = `${service} on ${streams} streams of ${size} bytes with windows of ${buffer}`
  it.scopedLive(`session carries ${what} when it opens`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect({ streamBufferSize: buffer }, { buffer, serve: service })
      yield* openMany(session, service, streams, size)
      yield* expectNoFaults(session)
      // every stream has ended at both ends
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scopedLive(`session carries ${what} when ${peer} opens`, () =>
    Effect.gen(function*() {
      const link = yield* connect({ streamBufferSize: buffer }, { buffer, open: service, streams, bytes: size })
      yield* serveMany(link, service, streams, size)
      yield* expectNoFaults(link.session)
    }))
}

/** One end ends its half, and the other half carries far more than a window. */
export const halfCloses = (connect: Connect, peer = "Go"): void => {
  const content = pattern(100_000)

  it.scopedLive("opened stream reads all bytes when it ends its half first", () =>
    Effect.gen(function*() {
      const { session } = yield* connect({}, { serve: "source" })
      const stream = yield* session.open()
      yield* send(stream, request(content.byteLength))
      expect((yield* readAll(stream)).subarray(0, content.byteLength)).toEqual(content)
    }))

  it.scopedLive(`opened stream writes all bytes when ${peer} ends its half first`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect({}, { serve: "source" })
      const stream = yield* session.open()
      yield* stream.write(request(0))
      expect((yield* readAll(stream)).byteLength).toBe(64)
      yield* send(stream, content)
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scopedLive("accepted stream reads all bytes when it ends its half first", () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { open: "sink", bytes: content.byteLength })
      const stream = yield* session.accept
      // the answer, before the question
      yield* send(stream, Buffer.from(digestOf(content).sha256))
      expect(yield* digest(stream)).toEqual(digestOf(content))
      expect(yield* go.next("result")).toMatchObject({ ok: true, bytes: content.byteLength })
    }))

  it.scopedLive(`accepted stream writes all bytes when ${peer} ends its half first`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { open: "echo", bytes: content.byteLength })
      const stream = yield* session.accept
      const all = yield* readAll(stream)
      yield* send(stream, all)
      expect(yield* go.next("result")).toMatchObject({ ok: true, bytes: content.byteLength })
    }))
}
