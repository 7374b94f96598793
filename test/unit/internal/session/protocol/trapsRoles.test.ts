import { describe, expect, it } from "@effect/vitest"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { maxUint32 } from "../../../../../src/internal/wire/frame.js"
import { bytes, pattern } from "../../../../support/bytes.js"
import { expectWaiting, quiet, start } from "../../../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../../../support/scriptedPeer.js"
import { readAll, readSome } from "../../../../support/sessions.js"

interface Situation {
  readonly role: "client" | "server"
  readonly opens: boolean
  readonly id: number
}

const situations: ReadonlyArray<Situation> = [
  { role: "client", opens: true, id: 1 },
  { role: "client", opens: false, id: 0 },
  { role: "server", opens: true, id: 0 },
  { role: "server", opens: false, id: 1 }
]

const size = 10

/** A stream with windows of 10 bytes both ways, in a scope of its own that `leave` closes. */
const establish = ({ id, opens, role }: Situation, options?: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const peer = yield* makePeer(role, { ...quiet, streamBufferSize: size, ...options })
    const scope = yield* Scope.make()
    const coming = yield* Effect.fork(Scope.extend(opens ? peer.session.open() : peer.session.accept, scope))
    if (opens) {
      expect(yield* peer.next).toEqual(syn(id))
      yield* peer.send(ack(id, options?.streamBufferSize ?? size))
    } else {
      yield* peer.send(syn(id))
      expect(yield* peer.next).toEqual(ack(id, options?.streamBufferSize ?? size))
    }
    const stream = yield* Fiber.join(coming)
    const picture = Effect.map(peer.session.snapshot, ({ counters, streams }) => ({
      streams: streams.map(({ id }) => id),
      ignored: counters.ignoredFrames,
      overruns: counters.windowOverruns
    }))
    expect(stream.id).toBe(id)
    return { ...peer, stream, picture, leave: Scope.close(scope, Exit.void) }
  })

for (const situation of situations) {
  const { id, opens, role } = situation

  describe(`Session as ${role} with stream ${id} that it ${opens ? "opened" : "accepted"}`, () => {
    it.scoped(`Session as ${role} with stream ${id} sends within the credit, and continues at the next ACK`, () =>
      Effect.gen(function*() {
        const { frames, send, stream } = yield* establish(situation)
        const data = pattern(25)
        const writing = yield* start(Effect.zipRight(stream.write(data), stream.end))
        expect(yield* frames).toEqual([dat(id, data.subarray(0, 10))])
        yield* send(ack(id, 1))
        expect(yield* frames).toEqual([dat(id, data.subarray(10, 11))])
        yield* expectWaiting(writing)
        yield* send(ack(id, 1000))
        expect(yield* frames).toEqual([dat(id, data.subarray(11)), fin(id)])
        yield* Fiber.join(writing)
      }))

    it.scoped(`Session as ${role} with stream ${id} sends no DAT of 0 bytes, and ignores one`, () =>
      Effect.gen(function*() {
        const { frames, picture, send, stream } = yield* establish(situation)
        yield* stream.writeAll([bytes(""), bytes("")])
        const reading = yield* start(stream.read)
        yield* send(dat(id, bytes("")))
        yield* expectWaiting(reading)
        yield* send(dat(id, bytes("x")))
        expect(yield* Fiber.join(reading)).toEqual(Option.some(bytes("x")))
        expect(yield* frames).toEqual([])
        expect(yield* picture).toMatchObject({ streams: [id], ignored: 1, overruns: 0 })
      }))

    it.scoped(`Session as ${role} with stream ${id} fails reads after an overrun, and still writes`, () =>
      Effect.gen(function*() {
        const { frames, picture, send, session, stream } = yield* establish(situation)
        yield* send(dat(id, pattern(7)), dat(id, pattern(7)), dat(id, bytes("behind the hole")), fin(id))
        expect([yield* readSome(stream), yield* readSome(stream)]).toEqual([pattern(7), pattern(3)])
        expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "NoCapacity", streamId: id })
        expect(yield* frames).toEqual([])
        yield* stream.write(bytes("sorry"))
        yield* stream.end
        expect(yield* frames).toEqual([dat(id, bytes("sorry")), fin(id)])
        expect(yield* picture).toMatchObject({ streams: [], overruns: 1 })
        expect(yield* session.isClosed).toBe(false)
      }))

    it.scoped(`Session as ${role} with stream ${id} ignores DAT and FIN after the FIN of the peer`, () =>
      Effect.gen(function*() {
        const { picture, send, stream } = yield* establish(situation)
        yield* send(dat(id, bytes("all")), fin(id), dat(id, bytes("more")), fin(id))
        expect(yield* picture).toMatchObject({ streams: [id], ignored: 2, overruns: 0 })
        expect(yield* readAll(stream)).toEqual(bytes("all"))
      }))

    it.scoped(`Session as ${role} with stream ${id} writes after the FIN of the peer, and reads after its own`, () =>
      Effect.gen(function*() {
        const ended = yield* establish(situation)
        yield* ended.send(fin(id))
        const writing = yield* start(ended.stream.write(pattern(15)))
        yield* ended.send(ack(id, 10))
        yield* Fiber.join(writing)
        expect(yield* ended.frames).toEqual([dat(id, pattern(15).subarray(0, 10)), dat(id, pattern(15).subarray(10))])

        const ending = yield* establish(situation)
        yield* ending.stream.end
        yield* ending.send(ack(id, 10), dat(id, pattern(10)))
        expect(yield* readSome(ending.stream)).toEqual(pattern(10))
        expect(yield* ending.frames).toEqual([fin(id), ack(id, 10)])
      }))

    it.scoped(`Session as ${role} with stream ${id} sends FIN once when end is called twice`, () =>
      Effect.gen(function*() {
        const { frames, leave, picture, send, stream } = yield* establish(situation)
        yield* Effect.all([stream.end, stream.end], { concurrency: 2 })
        yield* leave
        yield* send(fin(id))
        expect(yield* frames).toEqual([fin(id)])
        expect(yield* picture).toMatchObject({ streams: [], ignored: 0 })
      }))

    it.scoped(`Session as ${role} with stream ${id} drains a stream that is left until the FIN of the peer`, () =>
      Effect.gen(function*() {
        const { frames, leave, picture, send } = yield* establish(situation)
        yield* send(dat(id, pattern(6)))
        yield* leave
        const left = yield* frames
        expect(left).toHaveLength(2)
        expect(left).toEqual(expect.arrayContaining([fin(id), ack(id, 6)]))
        for (let i = 0; i < 5; i++) {
          yield* send(dat(id, pattern(10)))
          expect(yield* frames).toEqual([ack(id, 10)])
        }
        expect(yield* picture).toMatchObject({ streams: [id], overruns: 0 })
        yield* send(fin(id))
        expect(yield* picture).toMatchObject({ streams: [], ignored: 0 })
        yield* send(dat(id, bytes("late")), ack(id, 10), fin(id))
        expect(yield* picture).toMatchObject({ streams: [], ignored: 3 })
        expect(yield* frames).toEqual([])
      }))

    for (const [how, reads] of [["unread", 0], ["half read", 1], ["read", 2]] as const) {
      it.scoped(`Session as ${role} with stream ${id} returns the credit of an overrun stream left ${how}`, () =>
        Effect.gen(function*() {
          const { frames, leave, send, stream } = yield* establish(situation)
          // A peer that believes in 20 bytes has used them up, and waits for credit.
          yield* send(dat(id, pattern(7)), dat(id, pattern(13)))
          for (let i = 0; i < reads; i++) yield* readSome(stream)
          yield* leave
          const credit = (yield* frames).reduce((sum, frame) => sum + (frame._tag === "Ack" ? frame.credit : 0), 0)
          expect(credit).toBe(size)
        }))
    }

    it.scoped(`Session as ${role} with stream ${id} clamps credit beyond 2^32-1`, () =>
      Effect.gen(function*() {
        const { frames, send, session, stream } = yield* establish(situation)
        yield* send(ack(id, maxUint32), ack(id, 1))
        expect(yield* session.snapshot).toMatchObject({
          streams: [{ id, sendCredit: maxUint32 }],
          counters: { creditOverflows: 2 }
        })
        yield* stream.write(pattern(1000))
        expect(yield* frames).toEqual([dat(id, pattern(1000))])
        expect((yield* session.snapshot).streams).toMatchObject([{ id, sendCredit: maxUint32 - 1000 }])
      }))

    it.scoped(`Session as ${role} with stream ${id} takes a DAT as large as a window of 4 MiB`, () =>
      Effect.gen(function*() {
        const window = 4 * 1024 * 1024
        const { frames, send, stream } = yield* establish(situation, { streamBufferSize: window })
        const data = pattern(window)
        yield* send(dat(id, data))
        const read = yield* readSome(stream)
        expect(Buffer.compare(read, data)).toBe(0)
        expect(yield* frames).toEqual([ack(id, window)])
      }))

    it.scoped(`Session as ${role} with stream ${id} reads while it cannot send`, () =>
      Effect.gen(function*() {
        const { pair, send, session, stream } = yield* establish(situation, { streamBufferSize: 100_000 })
        yield* pair.stall(role)
        const writing = yield* start(stream.write(pattern(94_000)))
        yield* expectWaiting(writing)
        for (let i = 0; i < 5; i++) {
          yield* send(dat(id, pattern(20_000, i + 1)))
          expect(yield* readSome(stream)).toEqual(pattern(20_000, i + 1))
        }
        yield* expectWaiting(writing)
        expect(yield* session.isClosed).toBe(false)
        yield* pair.cut
      }))

    it.scoped(`Session as ${role} with stream ${id} fails reads and writes when the connection is lost`, () =>
      Effect.gen(function*() {
        const { pair, send, stream } = yield* establish(situation)
        yield* send(dat(id, bytes("half")))
        yield* pair.cut
        expect(yield* readSome(stream)).toEqual(bytes("half"))
        const cause = { _tag: "TransportFailure", code: 1006 }
        expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "BrokenPipe", operation: "read", cause })
        expect(yield* Effect.flip(stream.end)).toMatchObject({ _tag: "BrokenPipe", operation: "write", cause })
      }))
  })
}
