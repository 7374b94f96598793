import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { maxUint32 } from "../../../../../src/internal/wire/frame.js"
import { bytes, pattern } from "../../../../support/bytes.js"
import { expectWaiting, start } from "../../../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../../../support/scriptedPeer.js"
import { readAll, readSome } from "../../../../support/sessions.js"

/** A peer that has opened stream 1 with our server, which has accepted it. */
const accepted = (options?: Parameters<typeof makePeer>[1]) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", options)
    yield* peer.send(syn(1))
    const stream = yield* peer.session.accept
    expect(yield* peer.frames).toEqual([ack(1, options?.streamBufferSize ?? 1024)])
    return { ...peer, stream }
  })

/** A peer that has accepted stream 1 of our client with the given credit. */
const opened = (credit = 1024, options?: Parameters<typeof makePeer>[1]) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("client", options)
    const opening = yield* Effect.fork(peer.session.open())
    expect(yield* peer.next).toEqual(syn(1))
    yield* peer.send(ack(1, credit))
    return { ...peer, stream: yield* Fiber.join(opening) }
  })

const counters = (peer: { readonly session: { readonly snapshot: Effect.Effect<{ readonly counters: object }> } }) =>
  Effect.map(peer.session.snapshot, (snapshot) => snapshot.counters)

describe("Session with the traps of Go peers", () => {
  it.scoped("Session sends no DAT of 0 bytes, and ignores one that comes", () =>
    Effect.gen(function*() {
      const { frames, send, stream, ...peer } = yield* opened()
      yield* stream.write(new Uint8Array(0))
      yield* stream.writeAll([new Uint8Array(0), new Uint8Array(0)])
      expect(yield* frames).toEqual([])
      yield* send(dat(1, new Uint8Array(0)), dat(1, bytes("x")))
      expect(yield* stream.read).toEqual(Option.some(bytes("x")))
      expect(yield* counters(peer)).toMatchObject({ ignoredFrames: 1, windowOverruns: 0 })
    }))

  it.scoped("Session fails only the stream with NoCapacity when a frame overruns its window", () =>
    Effect.gen(function*() {
      const { send, session, stream } = yield* accepted({ streamBufferSize: 10 })
      yield* send(dat(1, pattern(8)), dat(1, pattern(8)), dat(1, bytes("later")), syn(3))
      expect([yield* readSome(stream), yield* readSome(stream)]).toEqual([pattern(8), pattern(2)])
      expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "NoCapacity", streamId: 1 })
      const other = yield* session.accept
      yield* send(dat(3, bytes("fine")))
      expect(yield* readSome(other)).toEqual(bytes("fine"))
    }))

  it.scoped("Session never exceeds the credit when a write is larger", () =>
    Effect.gen(function*() {
      const { frames, send, stream } = yield* opened(5, { streamBufferSize: 5 })
      const writing = yield* start(stream.write(pattern(12)))
      expect(yield* frames).toEqual([dat(1, pattern(12).subarray(0, 5))])
      yield* expectWaiting(writing)
      yield* send(ack(1, 4))
      expect(yield* frames).toEqual([dat(1, pattern(12).subarray(5, 9))])
      yield* send(ack(1, 100))
      expect(yield* frames).toEqual([dat(1, pattern(12).subarray(9))])
    }))

  it.scoped("Session sends no DAT before the ACK, and fails a stream that received one", () =>
    Effect.gen(function*() {
      const ours = yield* makePeer("client")
      const using = yield* start(Effect.flatMap(ours.session.open(), (stream) => stream.write(bytes("x"))))
      expect(yield* ours.frames).toEqual([syn(1)])
      yield* ours.send(ack(1, 10))
      yield* Fiber.join(using)
      const theirs = yield* makePeer("server")
      yield* theirs.send(syn(1), dat(1, bytes("early")))
      const stream = yield* theirs.session.accept
      yield* theirs.send(dat(1, bytes("late")))
      expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "NoCapacity" })
    }))

  it.scoped("Session answers a late ACK with FIN when the open has timed out", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client")
      const opening = yield* start(Effect.flip(session.open()))
      yield* TestClock.adjust("30 seconds")
      expect((yield* Fiber.join(opening))._tag).toBe("AcceptTimeout")
      expect(yield* frames).toEqual([syn(1)])
      expect((yield* Effect.flip(session.open({ id: 1 })))._tag).toBe("DuplicateStream")
      yield* send(ack(1, 1024))
      expect(yield* frames).toEqual([fin(1)])
      yield* send(fin(1))
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scoped("Session answers the FIN of an opener that cancelled, and does not accept its stream", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1), fin(1), syn(3))
      expect((yield* session.accept).id).toBe(3)
      expect(yield* frames).toEqual([fin(1), ack(3, 1024)])
    }))

  it.scoped("Session keeps at most 100 opens unanswered, since 200 deadlock a Go peer", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client")
      for (let i = 0; i < 201; i++) yield* Effect.forkScoped(session.open())
      expect((yield* frames).length).toBe(100)
      expect(yield* session.snapshot).toMatchObject({ unacknowledgedOpens: 100, waitingOpens: 101 })
      yield* send(ack(1, 1024), fin(3))
      expect(yield* frames).toEqual([syn(201), syn(203)])
    }))

  it.scoped("Session sends FIN once, and ignores a second FIN of the peer", () =>
    Effect.gen(function*() {
      const { frames, send, session, stream } = yield* opened()
      yield* Effect.all([stream.end, stream.end], { concurrency: 2 })
      yield* stream.end
      expect(yield* frames).toEqual([fin(1)])
      yield* send(fin(1), fin(1))
      expect(yield* session.snapshot).toMatchObject({ streams: [], counters: { ignoredFrames: 1 } })
    }))

  it.scoped("Session does not reuse the id of a stream that has ended", () =>
    Effect.gen(function*() {
      const { next, send, session, stream } = yield* opened()
      yield* stream.end
      yield* send(fin(1))
      expect((yield* Effect.flip(session.open({ id: 1 })))._tag).toBe("DuplicateStream")
      yield* Effect.forkScoped(session.open())
      expect([yield* next, yield* next]).toEqual([fin(1), syn(3)])
    }))

  it.scoped("Session returns credit for a stream that is left, until the FIN of the peer", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { streamBufferSize: 10 })
      yield* send(syn(1))
      yield* Effect.scoped(session.accept)
      expect(yield* frames).toEqual([ack(1, 10), fin(1)])
      for (let i = 0; i < 3; i++) {
        yield* send(dat(1, pattern(10)))
        expect(yield* frames).toEqual([ack(1, 10)])
      }
      yield* send(fin(1))
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scoped("Session.close ends after closeTimeout when the peer answers no close frame", () =>
    Effect.gen(function*() {
      const { pair, session } = yield* makePeer("client")
      yield* pair.stall("server")
      const closing = yield* start(session.close)
      yield* expectWaiting(closing)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
    }))

  it.scoped("Session sends a pong with each ping, and takes any message for a sign of life", () =>
    Effect.gen(function*() {
      const { send, session, transport } = yield* makePeer("server")
      const before = transport.receiveCount()
      yield* TestClock.adjust("10 seconds")
      expect(transport.receiveCount() - before).toBe(5) // the HELLO, and two ticks of a ping and a pong each
      for (let i = 0; i < 5; i++) {
        yield* TestClock.adjust("10 seconds")
        yield* send(fin(99))
      }
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("Session goes on receiving while it cannot send", () =>
    Effect.gen(function*() {
      const { pair, send, session, stream } = yield* opened(10_000)
      yield* pair.stall("client")
      for (let i = 0; i < 3; i++) yield* start(stream.write(pattern(40_000)))
      yield* send(dat(1, bytes("still")), fin(1))
      expect(yield* readAll(stream)).toEqual(bytes("still"))
      expect(yield* session.isClosed).toBe(false)
      yield* pair.cut
    }))

  it.scoped("MuxStream.read fails with BrokenPipe when the connection is lost", () =>
    Effect.gen(function*() {
      const { pair, send, stream } = yield* accepted()
      yield* send(dat(1, bytes("half")))
      yield* pair.cut
      expect(yield* readSome(stream)).toEqual(bytes("half"))
      expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "BrokenPipe", cause: { _tag: "TransportFailure" } })
    }))

  it.scoped("Session takes a DAT as large as the window", () =>
    Effect.gen(function*() {
      const size = 3 * 1024 * 1024
      const { send, stream } = yield* accepted({ streamBufferSize: size })
      yield* send(dat(1, pattern(size)), fin(1))
      expect((yield* readAll(stream)).byteLength).toBe(size)
    }))

  it.scoped("Session as opener takes the window that the acceptor assumes, and then withholds credit", () =>
    Effect.gen(function*() {
      const { frames, send, stream } = yield* opened(50, { streamBufferSize: 10 })
      yield* send(dat(1, pattern(50)))
      expect(yield* readSome(stream)).toEqual(pattern(50))
      expect(yield* frames).toEqual([ack(1, 10)])
    }))

  it.scoped("Session writes to a stream that a Go peer of 2017 accepts at the SYN", () =>
    Effect.gen(function*() {
      const { frames, stream } = yield* opened(1024)
      yield* stream.write(bytes("x"))
      expect(yield* frames).toEqual([dat(1, bytes("x"))])
    }))
})

describe("Session with a peer at fault", () => {
  it.scoped("Session ignores and counts a SYN for an open stream", () =>
    Effect.gen(function*() {
      const { frames, send, stream, ...peer } = yield* accepted()
      yield* send(syn(1), dat(1, bytes("x")))
      expect(yield* readSome(stream)).toEqual(bytes("x"))
      expect(yield* counters(peer)).toMatchObject({ duplicateSyns: 1 })
      expect(yield* frames).toEqual([])
    }))

  it.scoped("Session ignores and counts frames for unknown streams", () =>
    Effect.gen(function*() {
      const { frames, send, ...peer } = yield* makePeer("server")
      yield* send(dat(7, bytes("x")), ack(7, 5), fin(7))
      expect(yield* counters(peer)).toMatchObject({ ignoredFrames: 3 })
      expect(yield* frames).toEqual([])
    }))

  it.scoped("Session clamps and counts credit beyond 2^32-1", () =>
    Effect.gen(function*() {
      const { send, session } = yield* opened(1024)
      yield* send(ack(1, maxUint32))
      expect(yield* session.snapshot).toMatchObject({
        streams: [{ sendCredit: maxUint32 }],
        counters: { creditOverflows: 1 }
      })
    }))

  for (const [role, id] of [["client", 1], ["server", 2]] as const) {
    it.scoped(`Session as ${role} fails with WrongParity when the peer has the same role`, () =>
      Effect.gen(function*() {
        const { ended, send, session } = yield* makePeer(role)
        yield* send(syn(id))
        expect((yield* session.awaitClosed)._tag).toBe("WrongParity")
        expect(yield* ended).toEqual({
          code: 1008,
          reason: `stream id ${id} belongs to the ${role}: are both ends ${role}s?`
        })
      }))
  }
})
