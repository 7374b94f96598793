import { expect, it } from "@effect/vitest"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { pattern } from "../../support/bytes.js"
import { readAll } from "../../support/sessions.js"
import type { Flags } from "./goPeer.js"
import type { Link } from "./links.js"
import { digest, digestOf, expectNoFaults, openMany, request, send, serveMany } from "./traffic.js"

/** How a session with Go comes about, one of `links.ts`. */
type Connect = (options?: SessionConfig.Options, flags?: Flags) => Effect.Effect<Link, unknown, Scope.Scope>

const buffers = [1024, 4096, 65536]
const services = ["echo", "sink", "source"] as const

/** Every service, with small and large buffers, few and many streams, opened from either side. */
export const carriesEverything = (connect: Connect): void => {
  for (const service of services) {
    for (const buffer of buffers) {
      for (const streams of [1, 100]) {
        const size = streams === 1 ? buffer * 16 : buffer * 4
        carries(connect, service, buffer, streams, size)
      }
    }
  }
}

/** One service in both directions, each of which has a session of its own. */
export const carries = (
  connect: Connect,
  service: typeof services[number],
  buffer: number,
  streams: number,
  size: number
): void => {
  const what = `${service}: ${streams} of ${size} bytes with buffers of ${buffer}`
  it.scopedLive(`${what}, opened by us`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect({ streamBufferSize: buffer }, { buffer, serve: service })
      yield* openMany(session, service, streams, size)
      yield* expectNoFaults(session)
      // every stream has come to its end on both sides
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scopedLive(`${what}, opened by Go`, () =>
    Effect.gen(function*() {
      const link = yield* connect({ streamBufferSize: buffer }, { buffer, open: service, streams, bytes: size })
      yield* serveMany(link, service, streams, size)
      yield* expectNoFaults(link.session)
    }))
}

/** One side has ended its half; the other half carries far more than a window. */
export const halfCloses = (connect: Connect): void => {
  const content = pattern(100_000)

  it.scopedLive("we end first, and read on", () =>
    Effect.gen(function*() {
      const { session } = yield* connect({}, { serve: "source" })
      const stream = yield* session.open()
      yield* send(stream, request(content.byteLength))
      expect((yield* readAll(stream)).subarray(0, content.byteLength)).toEqual(content)
    }))

  it.scopedLive("Go ends first, and reads on", () =>
    Effect.gen(function*() {
      const { session } = yield* connect({}, { serve: "source" })
      const stream = yield* session.open()
      yield* stream.write(request(0))
      expect((yield* readAll(stream)).byteLength).toBe(64)
      yield* send(stream, content)
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scopedLive("we accept, end first, and read on", () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { open: "sink", bytes: content.byteLength })
      const stream = yield* session.accept
      // its answer, before the question
      yield* send(stream, Buffer.from(digestOf(content).sha256))
      expect(yield* digest(stream)).toEqual(digestOf(content))
      expect(yield* go.next("result")).toMatchObject({ ok: true, bytes: content.byteLength })
    }))

  it.scopedLive("Go opens, ends first, and reads on", () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { open: "echo", bytes: content.byteLength })
      const stream = yield* session.accept
      const all = yield* readAll(stream)
      yield* send(stream, all)
      expect(yield* go.next("result")).toMatchObject({ ok: true, bytes: content.byteLength })
    }))
}
