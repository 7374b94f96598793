import { describe, expect, it } from "@effect/vitest"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { StreamReset } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { bytes, pattern } from "../../support/bytes.js"
import { expectWaiting, failureOf, plainly, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, readAll, settle } from "../../support/sessions.js"

/** Accepts a stream of the peer and leaves it after `unread` has arrived. `before` has the frames up to then. */
const makeLeft = (unread: ReadonlyArray<Uint8Array>, options?: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", options)
    yield* peer.send(syn(1))
    yield* Effect.scoped(Effect.zipRight(peer.session.accept, peer.send(...unread.map((chunk) => dat(1, chunk)))))
    const streams = Effect.map(peer.session.snapshot, (snapshot) => snapshot.streams.length)
    return { ...peer, streams, before: yield* peer.frames }
  })

describe("MuxStream", () => {
  it.scoped("MuxStream sends FIN and returns credit until the peer's FIN when its scope closes", () =>
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

  it.scoped("Session.snapshot reports discarding when the scope of a stream has closed", () =>
    Effect.gen(function*() {
      const { session } = yield* makeLeft([bytes("unread")])
      expect((yield* session.snapshot).streams).toMatchObject([{ id: 1, bufferedBytes: 0, discarding: true }])
    }))

  it.scoped("MuxStream returns the credit of unread bytes when its scope closes", () =>
    Effect.gen(function*() {
      const { before } = yield* makeLeft([pattern(1000), pattern(24)])
      expect(before).toHaveLength(3)
      expect(before).toEqual(expect.arrayContaining([fin(1), ack(1, 1024)]))
    }))

  it.scoped("MuxStream is removed without more credit when discardLimit is spent", () =>
    Effect.gen(function*() {
      const { frames, send, session, streams } = yield* makeLeft([], { discardLimit: 1500 })
      yield* send(dat(1, pattern(1000)), dat(1, pattern(500)))
      expect(yield* frames).toEqual([ack(1, 1000)]) // the remaining bytes are less than half a window
      expect(yield* streams).toBe(1)
      yield* send(dat(1, pattern(24)))
      expect(yield* streams).toBe(0)
      yield* send(dat(1, pattern(500)), fin(1))
      expect(yield* frames).toEqual([])
      expect((yield* session.snapshot).counters.ignoredFrames).toBe(2)
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("MuxStream is removed at once when its unread bytes exceed discardLimit", () =>
    Effect.gen(function*() {
      const { before, streams } = yield* makeLeft([pattern(1024)], { discardLimit: 1023 })
      expect(before).toEqual([ack(1, 1024), fin(1)])
      expect(yield* streams).toBe(0)
    }))

  it.scoped("MuxStream returns credit to the peer when an overrun stream is left", () =>
    Effect.gen(function*() {
      const { frames, send, streams } = yield* makeLeft([pattern(1500)])
      yield* send(dat(1, pattern(700)))
      const credit = (yield* frames).reduce((sum, frame) => sum + (frame._tag === "Ack" ? frame.credit : 0), 0)
      expect(credit).toBeGreaterThan(0)
      yield* send(fin(1))
      expect(yield* streams).toBe(0)
    }))

  it.scoped("MuxStream is removed at once when its scope closes after the peer's FIN", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1), dat(1, new Uint8Array(0)))
      yield* Effect.scoped(Effect.zipRight(session.accept, send(dat(1, bytes("x")), fin(1))))
      expect(yield* frames).toEqual([ack(1, 1024), fin(1)])
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scoped("MuxStream lets the peer's writer finish within discardLimit when its scope closes", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
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

  it.scoped("MuxStream.write fails with WriteTimeout when its peer has left and spent discardLimit", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly({ server: { discardLimit: 10_000 } }))
      yield* Effect.fork(Effect.scoped(server.accept))
      const near = yield* client.open()
      const write = yield* start(near.write(pattern(100_000)))
      yield* expectWaiting(write)
      expect((yield* server.snapshot).streams).toEqual([])
      yield* near.setWriteDeadline(0)
      expect(yield* Effect.flip(Fiber.join(write))).toMatchObject({ _tag: "WriteTimeout" })
    }))

  for (const discardLimit of [0, 1_000_000]) {
    it.scoped(`MuxStream.write fails when its native peer has left, with a discardLimit of ${discardLimit}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly({ server: { discardLimit } }))
        yield* settle
        yield* Effect.fork(Effect.scoped(server.accept))
        const near = yield* client.open()
        const write = yield* start(near.write(pattern(100_000)))
        expect(yield* failureOf(write)).toEqual(
          new StreamReset({ streamId: 1, operation: "write", by: "peer", code: 0, reason: "", written: 1024 })
        )
        expect((yield* readAll(near)).byteLength).toBe(0) // the peer left after success
        expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
      }))
  }

  const ways = {
    "before the scope closes": [[dat(1, bytes("unread")), fin(1)], []],
    "after the scope has closed": [[], [dat(1, bytes("unread")), fin(1)]]
  } as const
  for (const [when, [before, after]] of Object.entries(ways)) {
    it.scoped(`MuxStream.read fails with BrokenPipe when unread bytes and FIN arrive ${when}`, () =>
      Effect.gen(function*() {
        const { send, session } = yield* makePeer("server")
        yield* send(syn(1))
        const stream = yield* Effect.scoped(Effect.tap(session.accept, () => send(...before)))
        yield* send(...after)
        expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "BrokenPipe", operation: "read" })
      }))
  }

  it.scoped("MuxStream.end fails with the session when discardLimit is spent and its FIN waits", () =>
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

  it.scoped("MemoryTransport.makeSessions closes with its scope when the clock stands still", () =>
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
      expect(yield* streams).toEqual([]) // the peer has not sent FIN
    }))

  it.scoped("Session ignores and counts frames of a stream after the peer's FIN", () =>
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
