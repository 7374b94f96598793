import { describe, expect, it } from "@effect/vitest"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { bytes, pattern } from "../../support/bytes.js"
import { expectWaiting, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, readAll, settle } from "../../support/sessions.js"

/** A stream of the peer, accepted and left, after `unread` had come; and the frames up to there. */
const makeLeft = (unread: ReadonlyArray<Uint8Array>, options?: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", options)
    yield* peer.send(syn(1))
    yield* Effect.scoped(Effect.zipRight(peer.session.accept, peer.send(...unread.map((chunk) => dat(1, chunk)))))
    const streams = Effect.map(peer.session.snapshot, (snapshot) => snapshot.streams.length)
    return { ...peer, streams, before: yield* peer.frames }
  })

describe("a stream that is left before its end", () => {
  it.scoped("sends FIN, then returns the credit of what comes until the peer's FIN", () =>
    Effect.gen(function*() {
      const { before, frames, send, streams } = yield* makeLeft([])
      expect(before).toEqual([ack(1, 1024), fin(1)])
      yield* send(dat(1, pattern(1024)), dat(1, pattern(512)), dat(1, pattern(100)))
      expect(yield* frames).toEqual([ack(1, 1024), ack(1, 512)])
      expect(yield* streams).toBe(1)
      yield* send(fin(1))
      expect(yield* streams).toBe(0)
      expect(yield* frames).toEqual([])
    }))

  it.scoped("Session.snapshot tells that a stream was left, and that its bytes are discarded", () =>
    Effect.gen(function*() {
      const { session } = yield* makeLeft([bytes("unread")])
      expect((yield* session.snapshot).streams).toMatchObject([{ id: 1, bufferedBytes: 0, discarding: true }])
    }))

  it.scoped("returns the credit of what nobody had read", () =>
    Effect.gen(function*() {
      const { before } = yield* makeLeft([pattern(1000), pattern(24)])
      expect(before).toHaveLength(3)
      expect(before).toEqual(expect.arrayContaining([fin(1), ack(1, 1024)]))
    }))

  it.scoped("is forgotten without more credit once the budget is spent", () =>
    Effect.gen(function*() {
      const { frames, send, session, streams } = yield* makeLeft([], { discardLimit: 1500 })
      yield* send(dat(1, pattern(1000)), dat(1, pattern(500)))
      expect(yield* frames).toEqual([ack(1, 1000)]) // the rest is less than half a window
      expect(yield* streams).toBe(1)
      yield* send(dat(1, pattern(24)))
      expect(yield* streams).toBe(0)
      yield* send(dat(1, pattern(500)), fin(1))
      expect(yield* frames).toEqual([])
      expect((yield* session.snapshot).counters.ignoredFrames).toBe(2)
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("is forgotten at once when what nobody had read spends the budget", () =>
    Effect.gen(function*() {
      const { before, streams } = yield* makeLeft([pattern(1024)], { discardLimit: 1023 })
      expect(before).toEqual([ack(1, 1024), fin(1)])
      expect(yield* streams).toBe(0)
    }))

  it.scoped("may have been overrun: its peer's writer gets its credit all the same", () =>
    Effect.gen(function*() {
      const { frames, send, streams } = yield* makeLeft([pattern(1500)])
      yield* send(dat(1, pattern(700)))
      const credit = (yield* frames).reduce((sum, frame) => sum + (frame._tag === "Ack" ? frame.credit : 0), 0)
      expect(credit).toBeGreaterThan(0)
      yield* send(fin(1))
      expect(yield* streams).toBe(0)
    }))

  it.scoped("is over at once when the peer had ended", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1), dat(1, new Uint8Array(0)))
      yield* Effect.scoped(Effect.zipRight(session.accept, send(dat(1, bytes("x")), fin(1))))
      expect(yield* frames).toEqual([ack(1, 1024), fin(1)])
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scoped("lets the peer's writer finish within the budget", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      const near = yield* Effect.zipLeft(
        Effect.zipRight(Effect.fork(Effect.scoped(server.accept)), client.open()),
        settle
      )
      yield* near.write(pattern(1_000_000))
      yield* near.end
      expect((yield* readAll(near)).byteLength).toBe(0)
      yield* settle
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
    }))

  it.scoped("leaves the peer's writer waiting beyond the budget, where a deadline frees it", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly({ server: { discardLimit: 10_000 } }))
      yield* Effect.fork(Effect.scoped(server.accept))
      const near = yield* client.open()
      const write = yield* start(near.write(pattern(100_000)))
      yield* expectWaiting(write)
      expect((yield* server.snapshot).streams).toEqual([])
      yield* near.setWriteDeadline(0)
      expect(yield* Effect.flip(Fiber.join(write))).toMatchObject({ _tag: "WriteTimeout" })
    }))

  const ways = {
    "when the peer had ended": [[dat(1, bytes("unread")), fin(1)], []],
    "when the peer ends later": [[], [dat(1, bytes("unread")), fin(1)]]
  } as const
  for (const [when, [before, after]] of Object.entries(ways)) {
    it.scoped(`never shows an end to who still reads it, ${when}: bytes before it are lost`, () =>
      Effect.gen(function*() {
        const { send, session } = yield* makePeer("server")
        yield* send(syn(1))
        const stream = yield* Effect.scoped(Effect.tap(session.accept, () => send(...before)))
        yield* send(...after)
        expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "BrokenPipe", operation: "read" })
      }))
  }

  it.scoped("lets who waits for its FIN hear of the session's end, though its budget is spent", () =>
    Effect.gen(function*() {
      const config = { discardLimit: 0, streamBufferSize: 70_000 }
      const { pair, send, session } = yield* makePeer("server", config, { capacity: 1000 })
      yield* send(syn(1))
      const scope = yield* Scope.make()
      const stream = yield* Scope.extend(session.accept, scope)
      yield* send(dat(1, bytes("unread")))
      yield* pair.stall("server")
      yield* stream.write(pattern(2000))
      const end = yield* start(stream.end)
      yield* Scope.close(scope, Exit.void)
      yield* expectWaiting(end)
      yield* pair.cut
      expect(yield* Effect.flip(Fiber.join(end))).toMatchObject({ _tag: "BrokenPipe", operation: "write" })
    }))

  it.scoped("is forgotten once a FIN that waited has gone, when its budget is spent", () =>
    Effect.gen(function*() {
      const config = { discardLimit: 0, streamBufferSize: 70_000 }
      const { pair, send, session } = yield* makePeer("server", config, { capacity: 1000 })
      yield* send(syn(1))
      const scope = yield* Scope.make()
      const stream = yield* Scope.extend(session.accept, scope)
      const streams = Effect.map(session.snapshot, ({ streams }) => streams.map(({ state }) => state))
      yield* send(dat(1, bytes("unread")))
      yield* pair.stall("server")
      yield* stream.write(pattern(2000))
      const end = yield* start(stream.end)
      yield* Scope.close(scope, Exit.void)
      expect(yield* streams).toEqual(["Open"])
      yield* pair.resume("server")
      yield* Fiber.join(end)
      yield* settle
      expect(yield* streams).toEqual([]) // although its peer has not ended
    }))

  it.scoped("ignores and counts what comes behind the peer's FIN", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      const ignored = Effect.map(session.snapshot, ({ counters }) => counters.ignoredFrames)
      yield* send(dat(1, bytes("all")), fin(1))
      expect(yield* ignored).toBe(0)
      yield* send(dat(1, bytes("more")))
      expect(yield* ignored).toBe(1)
      yield* send(fin(1))
      expect(yield* ignored).toBe(2)
      expect(yield* readAll(stream)).toEqual(bytes("all"))
    }))
})
