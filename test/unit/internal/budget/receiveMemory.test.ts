import { describe, expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { encode } from "../../../../src/internal/wire/frame.js"
import { pattern } from "../../../support/bytes.js"
import { quiet, quietly, start } from "../../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../../support/scriptedPeer.js"
import { makeSessions, readAll, settle } from "../../../support/sessions.js"

/** Returns the sum of unread bytes and granted credit over all streams of a session. */
const reach = (session: Session) =>
  Effect.map(
    session.snapshot,
    ({ streams }) => streams.reduce((sum, { bufferedBytes, receiveCredit }) => sum + bufferedBytes + receiveCredit, 0)
  )

/** The first 200 bytes are two whole windows. The other 200 bytes are shares of 25 bytes. */
const settings = { ...quiet, streamBufferSize: 100, maxSessionBufferSize: 400, maxStreams: 8 }

const openers = [1, 3, 5, 7, 9, 11, 13, 15]

describe("ReceiveMemory", () => {
  it.scoped("ReceiveMemory gives whole windows from its first half, and small shares of the other half", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", settings)
      yield* send(...openers.map(syn))
      yield* Effect.replicateEffect(session.accept, openers.length)
      expect(yield* frames).toEqual(openers.map((id, i) => ack(id, i < 2 ? 100 : 25)))
      expect(yield* reach(session)).toBe(350)
      for (const [i, id] of openers.entries()) yield* send(dat(id, pattern(i < 2 ? 100 : 25)))
      const { counters, streams } = yield* session.snapshot
      expect([counters.windowOverruns, streams.map(({ bufferedBytes }) => bufferedBytes)]).toEqual([
        0,
        [100, 100, 25, 25, 25, 25, 25, 25]
      ])
    }))

  it.scoped("ReceiveMemory gives whole windows again when streams are over", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", settings)
      yield* send(syn(1), syn(3), syn(5))
      yield* Effect.scoped(Effect.replicateEffect(session.accept, 3))
      yield* send(fin(1), fin(3), fin(5), syn(7))
      yield* session.accept
      expect((yield* frames).at(-1)).toEqual(ack(7, 100))
    }))

  it.scoped("ReceiveMemory keeps the bytes of a stream that is over booked until they are read", () =>
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

  it.scoped("ReceiveMemory frees the bytes of a stream that is over when its scope closes", () =>
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

  it.scoped("Session refuses a stream when its window would exceed maxSessionBufferSize", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...settings, maxSessionBufferSize: 50 })
      const ended = Effect.flatMap(session.accept, (stream) => stream.end)
      for (const id of [...openers, 17, 19]) {
        yield* send(syn(id)) // each stream is over at once and unread
        yield* ended
        yield* send(dat(id, pattern(3)), fin(id))
      }
      yield* send(...[21, 23, 25, 27, 29, 31, 33].map(syn))
      yield* Effect.replicateEffect(session.accept, 6)
      const given = (yield* frames).filter((frame) => frame._tag === "Ack").map(({ credit }) => credit)
      expect(given).toEqual(Array.from({ length: 16 }, () => 3))
      expect(yield* session.snapshot).toMatchObject({ counters: { refused: 1, windowOverruns: 0 } })
    }))

  it.scoped("Session carries all bytes both ways when maxSessionBufferSize is small", () =>
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
      expect((yield* client.snapshot).counters.windowOverruns + (yield* server.snapshot).counters.windowOverruns).toBe(
        0
      )
    }))
})

describe("MuxStream", () => {
  it.scoped("MuxStream grants its window once when streamBufferSize exceeds maxPeerWindow", () =>
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

describe("ReceiveMemory", () => {
  it.scoped("Session frees the window except unread bytes when the peer has sent FIN", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...settings, maxSessionBufferSize: 240 })
      const next = Effect.zipRight(session.accept, Effect.map(frames, (frames) => frames.at(-1)))
      yield* send(syn(1))
      yield* session.accept // the handler neither reads nor sends FIN
      yield* send(dat(1, pattern(10)), fin(1), syn(3))
      expect(yield* next).toEqual(ack(3, 100))
    }))

  it.scoped("Session bounds the bytes of its own opens when acceptors assume large windows", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("client", {
        ...quiet,
        streamBufferSize: 100,
        maxSessionBufferSize: 1000
      })
      const opens = yield* Effect.forEach([1, 3, 5, 7], () => start(session.open()))
      yield* send(...[1, 3, 5, 7].map((id) => ack(id, 0xffff_ffff)))
      yield* Effect.forEach(opens, Fiber.join)
      for (const id of [1, 3, 5, 7]) yield* send(dat(id, pattern(2000)))
      const { counters, streams } = yield* session.snapshot
      expect(streams.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0)).toBe(1000)
      expect(counters.windowOverruns).toBe(4)
    }))

  const strangers = (
    limits: Partial<SharedLimits.Settings>,
    sessions: number,
    options?: SessionConfig.PartialSettings
  ) =>
    Effect.gen(function*() {
      const made = yield* Effect.forEach(
        Array.from({ length: sessions }),
        () => makePeer("server", { ...quiet, ...options })
      )
      for (const { send, session } of made) {
        yield* Effect.fork(session.run(() => Effect.never))
        yield* send(...openers.map(syn))
      }
      return {
        made,
        accepted: Effect.forEach(made, ({ session }) => Effect.map(session.snapshot, (now) => now.counters.accepted)),
        windows: Effect.forEach(
          made,
          ({ frames }) =>
            Effect.map(frames, (frames) => frames.flatMap((frame) => frame._tag === "Ack" ? [frame.credit] : []))
        )
      }
    }).pipe(Effect.provide(SharedLimits.layer(limits)))

  it.scoped("SharedLimits bounds the streams of all sessions, and keeps a part for each", () =>
    Effect.gen(function*() {
      const { accepted, made } = yield* strangers({ maxStreams: 12 }, 3)
      expect(yield* accepted).toEqual([6, 2, 2]) // half for the first session, and a third of the other half for each
      yield* made[0]!.session.close
      yield* made[1]!.send(syn(17), syn(19))
      expect(yield* accepted).toEqual([6, 3, 2]) // the closed session claims no part, though its handlers run
    }))

  it.scoped("SharedLimits bounds the windows of all sessions, and gives small windows beyond half", () =>
    Effect.gen(function*() {
      const { windows } = yield* strangers({ maxBufferSize: 20_000 }, 2, { streamBufferSize: 4000 })
      expect(yield* windows).toEqual([
        [4000, 4000, ...Array.from({ length: 6 }, () => 1024)],
        [4000, ...Array.from({ length: 7 }, () => 1024)]
      ])
    }))

  it.scoped("SharedLimits bounds the unread answers to all peers", () =>
    Effect.gen(function*() {
      const flood = (count: number) =>
        Effect.gen(function*() {
          const { pair, session, transport } = yield* makePeer("server", { ...quiet, acceptBacklog: 0 }, {
            capacity: 64
          })
          yield* Effect.addFinalizer(() => pair.cut)
          yield* pair.stall("server")
          yield* Effect.sync(() => {
            for (let i = 0; i < count; i++) transport.send([encode(syn(1))])
          })
          yield* Effect.repeatN(settle, 4)
          return yield* session.isClosed
        })
      const over = [yield* flood(100), yield* flood(30), yield* flood(130), yield* flood(90)]
      expect(over).toEqual([false, false, true, false]) // each session may have 100
    }).pipe(Effect.provide(SharedLimits.layer({ maxWaitingAnswers: 200 }))))

  it.scoped("SharedLimits frees all budgets when sessions end with unread bytes", () =>
    Effect.gen(function*() {
      const limits = yield* SharedLimits.SharedLimits
      yield* Effect.scoped(Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        yield* Effect.forkScoped(server.run((far) => Effect.zipRight(far.write(pattern(500)), Effect.never)))
        const streams = yield* Effect.replicateEffect(client.open(), 3)
        yield* Effect.forEach(streams, (stream) => stream.write(pattern(100)))
        yield* settle
        expect([limits.streams.used, limits.buffers.used]).toEqual([3, 6 * 1024])
      }))
      yield* settle
      const { buffers, streams, waitingAnswers } = limits
      expect([streams.used, buffers.used, waitingAnswers.used]).toEqual([0, 0, 0])
    }).pipe(Effect.provide(SharedLimits.layer())))

  it.scoped("Session frees its budget once when a flood ends it during an accept", () =>
    Effect.gen(function*() {
      const { streams, waitingAnswers } = yield* SharedLimits.SharedLimits
      const { pair, session, transport } = yield* makePeer("server", quiet, { capacity: 64 })
      yield* pair.stall("server")
      yield* Effect.fork(session.run(() => Effect.void))
      for (let i = 0; i < 200; i++) transport.send([encode(syn(2 * i + 1))])
      yield* settle
      expect(yield* session.isClosed).toBe(true)
      yield* pair.cut
      yield* settle
      expect([streams.used, waitingAnswers.used]).toEqual([0, 0])
    }).pipe(Effect.provide(SharedLimits.layer({ maxWaitingAnswers: 10 }))))

  it.scoped("Session keeps a stream when the FIN of an earlier stream with its id leaves late", () =>
    Effect.gen(function*() {
      const { buffers, streams } = yield* SharedLimits.SharedLimits
      yield* Effect.scoped(Effect.gen(function*() {
        const settings = { ...quiet, acceptBacklog: 2, discardLimit: 9 }
        const { pair, send, session } = yield* makePeer("server", settings, { capacity: 1 })
        yield* Effect.addFinalizer(() => pair.cut)
        yield* pair.stall("server")
        yield* send(syn(1), syn(3))
        yield* TestClock.adjust("31 seconds")
        yield* send(syn(5), dat(3, pattern(10)), fin(3), syn(3)) // the session refuses 1 and 3, as both have expired
        yield* pair.resume("server")
        yield* settle
        expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([5, 3])
      }))
      expect([streams.used, buffers.used]).toEqual([0, 0])
    }).pipe(Effect.provide(SharedLimits.layer())))

  it.effect("SharedLimits names the setting when it is not a whole number", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(SharedLimits.layer({ maxStreams: -1 }))))
      expect(error.message).toBe("invalid maxStreams: -1 is not a whole number from 0 on")
    }))
})
