import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { encode, maxUint32 } from "../../../../../src/internal/wire/frame.js"
import { bytes, concat, pattern } from "../../../../support/bytes.js"
import { expectWaiting, quiet, start } from "../../../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../../../support/scriptedPeer.js"
import { readAll, readSome } from "../../../../support/sessions.js"

const settings = { ...quiet, streamBufferSize: 10 }

const roles = [["client", 1], ["server", 0]] as const

for (const [role, id] of roles) {
  /** An open whose SYN was sent, in a scope that `leave` closes. */
  const opening = Effect.gen(function*() {
    const peer = yield* makePeer(role, settings)
    const scope = yield* Scope.make()
    const open = yield* Effect.fork(Scope.extend(peer.session.open(), scope))
    expect(yield* peer.next).toEqual(syn(id))
    return { ...peer, open, leave: Scope.close(scope, Exit.void) }
  })

  describe(`Session as ${role} that opens stream ${id}`, () => {
    it.scoped(`Session as ${role} reads DAT and FIN that come with the ACK`, () =>
      Effect.gen(function*() {
        const { open, send } = yield* opening
        yield* send(ack(id, 10), dat(id, bytes("a")), dat(id, bytes("b")), fin(id))
        const stream = yield* Fiber.join(open)
        expect(yield* readAll(stream)).toEqual(bytes("ab"))
      }))

    it.scoped(`Session as ${role} grants its window when the ACK has no credit`, () =>
      Effect.gen(function*() {
        const { frames, open, send } = yield* opening
        yield* send(ack(id, 0))
        const stream = yield* Fiber.join(open)
        const writing = yield* start(stream.write(bytes("abc")))
        expect(yield* frames).toEqual([ack(id, 10)])
        yield* expectWaiting(writing)
        yield* send(ack(id, 2))
        expect(yield* frames).toEqual([dat(id, bytes("ab"))])
        yield* send(ack(id, 1))
        expect(yield* frames).toEqual([dat(id, bytes("c"))])
        yield* Fiber.join(writing)
      }))

    it.scoped(`Session as ${role} takes a second ACK for credit`, () =>
      Effect.gen(function*() {
        const { frames, open, send, session } = yield* opening
        yield* send(ack(id, 10), ack(id, 10))
        yield* Fiber.join(open)
        expect(yield* session.snapshot).toMatchObject({
          streams: [{ id, state: "Open", sendCredit: 20, receiveCredit: 10 }],
          counters: { opened: 1, ignoredFrames: 0 },
          unacknowledgedOpens: 0
        })
        expect(yield* frames).toEqual([])
      }))

    it.scoped(`Session as ${role} fails the read with NoCapacity when DAT came before the ACK`, () =>
      Effect.gen(function*() {
        const { open, send } = yield* opening
        yield* send(dat(id, bytes("early")), ack(id, 10), dat(id, bytes("late")))
        const stream = yield* Fiber.join(open)
        expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "NoCapacity", streamId: id })
      }))

    it.scoped(`Session as ${role} sends one FIN and drains when an open is interrupted at any moment`, () =>
      Effect.forEach(Array.from({ length: 17 }, (_, index) => index - 8), (delay) =>
        Effect.gen(function*() {
          const { frames, leave, open, send, session, transport } = yield* opening
          const answer = Effect.sync(() => transport.send([encode(ack(id, 10))]))
          const [first, second] = delay < 0 ? [Fiber.interruptFork(open), answer] : [answer, Fiber.interruptFork(open)]
          yield* first
          for (let turns = 0; turns < Math.abs(delay); turns++) yield* Effect.yieldNow()
          yield* second
          yield* Fiber.await(open)
          yield* leave
          yield* send(dat(id, pattern(10)))
          expect(yield* frames).toEqual([fin(id), ack(id, 10)])
          yield* send(fin(id))
          expect(yield* session.snapshot).toMatchObject({ streams: [], unacknowledgedOpens: 0 })
        }), { discard: true }))
  })

  describe(`Session as ${role} that accepts a stream`, () => {
    const theirs = role === "client" ? 0 : 1

    it.scoped(`Session as ${role} counts credit that comes before accept`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer(role, settings)
        yield* send(syn(theirs), ack(theirs, 5))
        const stream = yield* session.accept
        yield* start(stream.write(pattern(20)))
        expect(yield* frames).toEqual([ack(theirs, 10), dat(theirs, pattern(20).subarray(0, 15))])
      }))

    it.scoped(`Session as ${role} keeps one stream and one window when its SYN is repeated`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer(role, settings)
        yield* send(syn(theirs), syn(theirs))
        const stream = yield* session.accept
        yield* send(dat(theirs, pattern(6)), syn(theirs), dat(theirs, pattern(4)))
        yield* stream.end
        yield* send(syn(theirs))
        const { backlog, counters, streams } = yield* session.snapshot
        expect({ backlog, duplicates: counters.duplicateSyns }).toEqual({ backlog: 0, duplicates: 3 })
        expect(streams).toMatchObject([{ id: theirs, state: "HalfClosedLocal", bufferedBytes: 10, receiveCredit: 0 }])
        expect(concat([yield* readSome(stream), yield* readSome(stream)])).toEqual(concat([pattern(6), pattern(4)]))
        expect(yield* frames).toEqual([ack(theirs, 10), fin(theirs), ack(theirs, 6)])
      }))

    it.scoped(`Session as ${role} accepts a new stream when the peer reuses an id that both ended`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer(role, settings)
        yield* send(syn(theirs))
        const first = yield* session.accept
        yield* start(first.write(pattern(10)))
        yield* first.end
        yield* send(dat(theirs, bytes("old")), fin(theirs), syn(theirs))
        const second = yield* session.accept
        yield* send(dat(theirs, bytes("new")))
        expect([yield* readAll(first), yield* readSome(second)]).toEqual([bytes("old"), bytes("new")])
        yield* second.write(pattern(10))
        expect(yield* frames).toEqual([
          ack(theirs, 10),
          dat(theirs, pattern(10)),
          fin(theirs),
          ack(theirs, 10),
          dat(theirs, pattern(10))
        ])
      }))

    it.scoped(`Session as ${role} accepts a stream with the largest id`, () =>
      Effect.gen(function*() {
        const largest = role === "client" ? maxUint32 - 1 : maxUint32
        const { frames, send, session } = yield* makePeer(role, settings)
        yield* send(syn(largest))
        const stream = yield* session.accept
        yield* send(dat(largest, bytes("x")), fin(largest))
        expect([stream.id, yield* readAll(stream)]).toEqual([largest, bytes("x")])
        yield* stream.write(bytes("y"))
        yield* stream.end
        expect(yield* frames).toEqual([ack(largest, 10), dat(largest, bytes("y")), fin(largest)])
      }))

    it.scoped(`Session as ${role} drops a stream that the peer fills and ends before accept`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer(role, settings)
        yield* send(syn(theirs), dat(theirs, bytes("too soon")), fin(theirs), ack(theirs, 10))
        expect(yield* session.snapshot).toMatchObject({
          streams: [],
          backlog: 0,
          counters: { accepted: 0, windowOverruns: 1, ignoredFrames: 1 }
        })
        yield* expectWaiting(yield* start(session.accept))
        expect(yield* frames).toEqual([fin(theirs)])
      }))
  })

  describe(`Session as ${role} that closes`, () => {
    it.scoped(`Session as ${role} ignores all frames after close`, () =>
      Effect.gen(function*() {
        const { frames, pair, send, session } = yield* makePeer(role, settings)
        const theirs = role === "client" ? 0 : 1
        yield* send(syn(theirs))
        const stream = yield* session.accept
        yield* send(dat(theirs, bytes("before")))
        yield* pair.stall(role)
        const closing = yield* start(session.close)
        yield* send(dat(theirs, bytes("after")), syn(theirs + 2), Uint8Array.of(9))
        yield* expectWaiting(closing)
        expect(yield* session.snapshot).toMatchObject({
          streams: [],
          backlog: 0,
          counters: { framesIn: { dat: 1, syn: 1 }, bytesIn: 6 }
        })
        expect(yield* readSome(stream)).toEqual(bytes("before"))
        const cause = { _tag: "SessionClosed", by: "local", code: 1000 }
        expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "BrokenPipe", cause })
        expect(yield* Effect.flip(session.accept)).toMatchObject(cause)
        expect(yield* frames).toEqual([ack(theirs, 10)])
        yield* pair.cut
        yield* Fiber.join(closing)
        expect(yield* session.awaitClosed).toMatchObject(cause)
      }))
  })
}
