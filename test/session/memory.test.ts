import { describe, expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { pattern } from "../support/bytes.js"
import { quiet, quietly } from "../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../support/scriptedPeer.js"
import { makeSessions, readAll } from "../support/sessions.js"

/** What all streams of a session hold, and what the peer may still send on them. */
const reach = (session: Session) =>
  Effect.map(
    session.snapshot,
    ({ streams }) => streams.reduce((sum, { bufferedBytes, receiveCredit }) => sum + bufferedBytes + receiveCredit, 0)
  )

/** Half of it for two whole windows, the other half for shares of 25 bytes. */
const settings = { ...quiet, streamBufferSize: 100, maxSessionBufferSize: 400, maxStreams: 8 }

const openers = [1, 3, 5, 7, 9, 11, 13, 15]

describe("the windows of a session", () => {
  it.scoped("are whole until half of what it may hold is given away, and shares of the other half from then on", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", settings)
      yield* send(...openers.map(syn))
      yield* Effect.replicateEffect(session.accept, openers.length)
      expect(yield* frames).toEqual(openers.map((id, i) => ack(id, i < 2 ? 100 : 25)))
      expect(yield* reach(session)).toBe(350)
      for (const [i, id] of openers.entries()) yield* send(dat(id, pattern(i < 2 ? 100 : 25)))
      const { counters, streams } = yield* session.snapshot
      expect([counters.overruns, streams.map(({ bufferedBytes }) => bufferedBytes)]).toEqual([
        0,
        [100, 100, 25, 25, 25, 25, 25, 25]
      ])
    }))

  it.scoped("are whole again when streams are over", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", settings)
      yield* send(syn(1), syn(3), syn(5))
      yield* Effect.scoped(Effect.replicateEffect(session.accept, 3))
      yield* send(fin(1), fin(3), fin(5), syn(7))
      yield* session.accept
      expect((yield* frames).at(-1)).toEqual(ack(7, 100))
    }))

  it.scoped("count until a stream that is over has been read", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...settings, maxSessionBufferSize: 240 })
      const next = Effect.zipRight(session.accept, Effect.map(frames, (frames) => frames.at(-1)))
      yield* send(syn(1))
      const unread = yield* session.accept
      yield* unread.end
      yield* send(dat(1, pattern(100)), fin(1), syn(3))
      expect(yield* next).toEqual(ack(3, 15))
      expect(yield* unread.read).toEqual(Option.some(pattern(100)))
      yield* send(syn(5))
      expect(yield* next).toEqual(ack(5, 100))
    }))

  it.scoped("count until a stream that is over has been left", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...settings, maxSessionBufferSize: 200 })
      const next = Effect.zipRight(session.accept, Effect.map(frames, (frames) => frames.at(-1)))
      const scope = yield* Scope.make()
      yield* send(syn(1))
      const unread = yield* Scope.extend(session.accept, scope)
      yield* unread.end
      yield* send(dat(1, pattern(100)), fin(1))
      yield* Scope.close(scope, Exit.void)
      yield* send(syn(3))
      expect(yield* next).toEqual(ack(3, 100))
    }))

  it.scoped("are never more than it may hold, and a stream that would need more is refused", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...settings, maxSessionBufferSize: 50 })
      const ended = Effect.flatMap(session.accept, (stream) => stream.end)
      for (const id of [...openers, 17, 19]) {
        yield* send(syn(id)) // each is over at once, but unread
        yield* ended
        yield* send(dat(id, pattern(3)), fin(id))
      }
      yield* send(...[21, 23, 25, 27, 29, 31, 33].map(syn))
      yield* Effect.replicateEffect(session.accept, 6)
      const given = (yield* frames).filter((frame) => frame._tag === "Ack").map(({ credit }) => credit)
      expect(given).toEqual(Array.from({ length: 16 }, () => 3))
      expect(yield* session.snapshot).toMatchObject({ counters: { refused: 1, overruns: 0 } })
    }))

  it.scoped("may be small, and the streams work all the same, both ways", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(
        quietly({ client: { streamBufferSize: 100 }, server: { streamBufferSize: 100, maxSessionBufferSize: 160 } })
      )
      yield* Effect.fork(server.run((far) => Stream.run(far.readable, far.writable)))
      yield* Effect.forEach([1, 2, 3, 4], (seed) =>
        Effect.gen(function*() {
          const near = yield* client.open()
          const sent = pattern(1000, seed)
          const [back] = yield* Effect.all([
            readAll(near),
            Stream.run(Stream.fromChunk(Chunk.of(sent)), near.writable)
          ], { concurrency: 2 })
          expect(back).toEqual(sent)
        }), { concurrency: "unbounded" })
      expect((yield* client.snapshot).counters.overruns + (yield* server.snapshot).counters.overruns).toBe(0)
    }))
})

describe("a window that is larger than what a peer may believe in at most", () => {
  it.scoped("is not given twice", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(
        quietly({ client: { streamBufferSize: 200, maxPeerWindow: 100 }, server: { streamBufferSize: 200 } })
      )
      const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      const sent = pattern(300)
      yield* Effect.fork(Effect.zipRight(far.write(sent), far.end))
      expect(yield* readAll(near)).toEqual(sent)
    }))
})
