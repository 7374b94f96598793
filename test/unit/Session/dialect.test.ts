import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import { ResetCode } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import type { Settings } from "effect-wsmux/SessionConfig"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { Transport } from "effect-wsmux/Transport"
import {
  DialectMissing,
  LabelsUnsupported,
  MalformedFrame,
  PeerFlood,
  StreamRefused,
  StreamReset,
  WrongParity
} from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Frame from "../../../src/internal/wire/frame.js"
import * as Record from "../../../src/internal/wire/record.js"
import { bytes, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, readAll, readSome, settle } from "../../support/sessions.js"

const { open: openFeature, reset: resetFeature } = Record.Feature

const hello = (more: Partial<Record.Hello> = {}) =>
  Record.encodeHello({ features: openFeature | resetFeature, ...more })

/** The records among the frames, decoded, beside the other frames. */
const decoded = (frames: ReadonlyArray<Frame.Frame | Frame.Malformed>) =>
  frames.map((frame) =>
    frame._tag === "Dat" && frame.id === Record.reservedId ? Record.decodeRecord(frame.payload) : frame
  )

const open = (id: number, window = 1024, label = "", metadata = {}) =>
  Record.encodeOpen(id, window, Record.encodeIntroduction(label, metadata))

/** A session in the client role whose scripted peer speaks the dialect. */
const makeNative = (settings: Partial<Settings> = {}, more: Partial<Record.Hello> = {}) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("client", { ...quiet, ...settings })
    yield* peer.send(hello(more))
    return { ...peer, frames: Effect.map(peer.frames, decoded) }
  })

const resetBy = (by: "local" | "peer", operation: "read" | "write", code: number, reason = "", written = 0) =>
  new StreamReset({ streamId: 1, operation, by, code, reason, written })

describe("Session with the dialect", () => {
  it.scoped("Session negotiates the dialect when both ends offer it, and shows the peer's limits", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({
        client: quiet,
        server: { ...quiet, streamBufferSize: 32_768, acceptBacklog: 7 }
      })
      yield* settle
      expect((yield* client.snapshot).dialect).toEqual({
        state: "native",
        software: "effect-wsmux",
        features: ["open", "reset", "goAway", "ping"],
        window: 32_768,
        earlyCredit: 1024,
        earlyCreditInAll: 256 * 1024 * 1024,
        longestLabel: 256,
        longestMetadata: 4096,
        backlog: 7
      })
      expect((yield* server.snapshot).dialect).toMatchObject({ state: "native", window: 1024, earlyCredit: 1024 })
    }))

  for (const settings of [{ dialect: "off" }, {}] as const) {
    it.scoped(`Session speaks Go's wire when its peer sends no HELLO and its dialect is ${settings.dialect}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer("client", { ...quiet, ...settings })
        const opening = yield* start(session.open())
        expect(yield* frames).toEqual([syn(1)])
        yield* send(ack(1, 5))
        const stream = yield* Fiber.join(opening)
        yield* stream.write(bytes("a"))
        yield* stream.reset()
        expect(yield* frames).toEqual([ack(1, 1019), dat(1, bytes("a")), fin(1)])
        const { counters, dialect } = yield* session.snapshot
        expect(dialect).toEqual({ state: "plain" })
        expect(counters.framesOut.record).toBe(settings.dialect === "off" ? 0 : 1)
      }))
  }

  it.scoped("Session sends its HELLO as the first message, even when the peer's frames wait for it", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const received: Array<Frame.Frame | Frame.Malformed> = []
      pair.client.listen({
        onMessage: (message) => void received.push(Frame.decode(message)),
        onText: () => {},
        onWritable: () => {},
        onClose: () => {}
      })
      pair.client.send([Frame.syn(1)])
      yield* settle
      yield* Effect.provideService(
        Session.makeServer({ ...quiet, dialect: "auto", maxStreams: 0 }),
        Transport,
        pair.server
      )
      yield* settle
      expect(decoded(received).map((frame) => frame._tag)).toEqual(["Hello", "Fin"])
    }))

  it.scoped("Session ignores records when its peer has sent no HELLO first", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", quiet)
      yield* send(syn(0), hello(), open(2), Record.encodeReset(0, 1, ""), Record.encodePing(new Uint8Array(8)))
      const { counters, dialect, streams } = yield* session.snapshot
      expect([dialect.state, counters.ignoredFrames, streams.map((stream) => stream.id)]).toEqual(["plain", 4, [0]])
      expect(yield* frames).toEqual([])
    }))

  it.scoped("Session ignores a second HELLO, and records of unknown kinds", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makeNative({}, { window: 5 })
      yield* send(hello({ window: 9 }), dat(Record.reservedId, Uint8Array.of(200, 1, 2)))
      const { counters, dialect } = yield* session.snapshot
      expect([dialect, counters.ignoredFrames]).toMatchObject([{ window: 5 }, 2])
    }))

  it.scoped("Session ends with MalformedFrame and code 1008 when a record is malformed", () =>
    Effect.gen(function*() {
      for (const prefix of [[], [hello()]]) {
        const { ended, send, session } = yield* makePeer("client", quiet)
        yield* send(...prefix, dat(Record.reservedId, Uint8Array.of(1, 2)))
        expect(yield* session.awaitClosed).toEqual(
          new MalformedFrame({ fault: "InvalidRecord", detail: "an invalid record HELLO" })
        )
        expect((yield* ended).code).toBe(1008)
      }
    }))

  it.scoped("Session ends with WrongParity when an OPEN has an id of this end or the reserved one", () =>
    Effect.gen(function*() {
      for (const [role, id] of [["client", 1], ["server", 0], ["server", Record.reservedId]] as const) {
        const { send, session } = yield* makePeer(role, quiet)
        yield* send(hello(), open(id))
        expect(yield* session.awaitClosed).toEqual(new WrongParity({ streamId: id, role }))
      }
    }))

  it.scoped("Session ignores an OPEN and counts a duplicate SYN when its id is that of a living stream", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative()
      yield* send(open(0, 5, "first"), open(0, 9, "second"))
      expect((yield* session.snapshot).backlog).toBe(1)
      const stream = yield* session.accept
      yield* send(open(0, 9, "third"))
      expect([stream.label, yield* frames]).toEqual(["first", [ack(0, 0)]])
      const { backlog, closed, counters, streams } = yield* session.snapshot
      expect(streams).toMatchObject([{ id: 0, label: "first", sendCredit: 5 }])
      expect([backlog, closed, counters.duplicateSyns, counters.ignoredFrames]).toEqual([0, false, 2, 0])
    }))

  it.scoped("Session requiring the dialect ends with DialectMissing when the first message is no HELLO", () =>
    Effect.gen(function*() {
      const { ended, send, session } = yield* makePeer("server", { ...quiet, dialect: "required" })
      yield* send(syn(1))
      expect(yield* session.awaitClosed).toEqual(new DialectMissing())
      expect((yield* ended).code).toBe(1008)
    }))

  it.scoped("Session requiring the dialect ends with DialectMissing when its peer is silent for long", () =>
    Effect.gen(function*() {
      const silent = yield* makePeer("server", { ...quiet, dialect: "required", streamAcceptDeadline: "2 seconds" })
      const native = yield* makePeer("server", { ...quiet, dialect: "required", streamAcceptDeadline: "2 seconds" })
      yield* native.send(hello())
      yield* TestClock.adjust(1999)
      expect(yield* silent.session.isClosed).toBe(false)
      yield* TestClock.adjust(2)
      expect(yield* silent.session.awaitClosed).toEqual(new DialectMissing())
      expect(yield* native.session.isClosed).toBe(false)
    }))
})

describe("Session.open with a label", () => {
  it.scoped("Session.open gives its label and metadata to the acceptor", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      const metadata = { user: "ä", empty: "" }
      const opening = yield* start(client.open({ label: "rpc", metadata }))
      const far = yield* server.accept
      const near = yield* Fiber.join(opening)
      expect([near, far].map((stream) => [stream.label, stream.metadata])).toEqual([["rpc", metadata], [
        "rpc",
        metadata
      ]])
      expect((yield* server.snapshot).streams[0]).toMatchObject({ id: 1, label: "rpc" })
      const [other, plain] = yield* Effect.all([server.open(), client.accept], { concurrency: 2 })
      expect([other, plain].map((stream) => [stream.label, stream.metadata])).toEqual([["", {}], ["", {}]])
    }))

  it.scoped("Session.open with a label waits for the peer's first message, and goes on by it", () =>
    Effect.gen(function*() {
      for (const [first, outcome] of [[hello(), "OPEN"], [syn(0), "failure"]] as const) {
        const { frames, send, session } = yield* makePeer("client", quiet)
        const opening = yield* start(session.open({ label: "x", id: 5 }))
        expect(yield* frames).toEqual([])
        yield* expectWaiting(opening)
        yield* send(first)
        if (outcome === "OPEN") {
          expect(decoded(yield* frames)).toEqual([{ _tag: "Open", id: 5, window: 1024, label: "x", metadata: {} }])
        } else {
          expect(yield* failureOf(opening)).toEqual(
            new LabelsUnsupported({ detail: "the peer does not speak the dialect" })
          )
          expect((yield* start(session.open({ id: 5 }))).unsafePoll()).toBeNull() // the id is free
        }
      }
    }))

  it.scoped("Session.open with a label fails at once when the peer is known not to take the label", () =>
    Effect.gen(function*() {
      const plain = yield* makePeer("client", { ...quiet, dialect: "off" })
      expect(yield* Effect.flip(plain.session.open({ metadata: { a: "b" } }))).toEqual(
        new LabelsUnsupported({ detail: "the peer does not speak the dialect" })
      )
      const short = yield* makeNative({}, { longest: { label: 3, metadata: 5 } })
      const detail = "the peer takes labels of at most 3 bytes, and metadata of at most 5"
      expect(yield* Effect.flip(short.session.open({ label: "long" }))).toEqual(new LabelsUnsupported({ detail }))
      expect(yield* Effect.flip(short.session.open({ metadata: { ab: "c" } }))).toEqual(
        new LabelsUnsupported({ detail })
      )
      yield* start(short.session.open({ label: "rpc", metadata: { a: "b" } }))
      expect(yield* short.frames).toMatchObject([{ _tag: "Open", label: "rpc", metadata: { a: "b" } }])
    }))

  it.scoped("Session.open with labelFallback leaves out the label when the peer may not take it", () =>
    Effect.gen(function*() {
      const options = { label: "rpc", metadata: { a: "b" }, labelFallback: true }
      const undecided = yield* makePeer("client", quiet)
      yield* start(undecided.session.open(options))
      expect(yield* undecided.frames).toEqual([syn(1)])
      const short = yield* makeNative({}, {
        longest: { label: 2, metadata: 5 },
        earlyCredit: { perStream: 1, inAll: 1 }
      })
      const stream = yield* short.session.open({ ...options, early: true })
      expect([stream.label, stream.metadata]).toEqual(["", {}])
      expect(yield* short.frames).toMatchObject([{ _tag: "Open", label: "", metadata: {} }])
      const native = yield* makeNative()
      yield* start(native.session.open(options))
      expect(yield* native.frames).toMatchObject([{ _tag: "Open", label: "rpc", metadata: { a: "b" } }])
    }))

  it.scoped("Session.open with a label fails after streamAcceptDeadline when the peer stays silent", () =>
    Effect.gen(function*() {
      const { session } = yield* makePeer("client", quiet)
      const opening = yield* start(session.open({ label: "x" }))
      yield* TestClock.adjust("30 seconds")
      expect(yield* failureOf(opening)).toEqual(
        new LabelsUnsupported({ detail: "the peer does not speak the dialect" })
      )
      expect((yield* session.snapshot).waitingOpens).toBe(0)
    }))

  it.scoped("Session.open dies when its label or metadata exceeds what a record holds", () =>
    Effect.gen(function*() {
      const { session } = yield* makeNative()
      expect((yield* Effect.sandbox(session.open({ label: "x".repeat(257) })).pipe(Effect.flip))._tag).toBe("Die")
      expect((yield* Effect.sandbox(session.open({ metadata: { a: "x".repeat(4096) } })).pipe(Effect.flip))._tag).toBe(
        "Die"
      )
    }))

  it.scoped("Session.open fails with the peer's code and reason when the peer refuses", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: { ...quiet, maxStreams: 1 } })
      yield* settle
      yield* start(client.open())
      expect(yield* Effect.flip(client.open())).toEqual(
        new StreamRefused({ streamId: 3, code: ResetCode.Refused, reason: "the session has maxStreams streams" })
      )
      expect((yield* client.snapshot).streams.map((stream) => stream.id)).toEqual([1])
      expect((yield* server.snapshot).counters.refused).toBe(1)
    }))

  it.scoped("Session.open that is interrupted resets its stream, whose acceptor never sees it", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      const opening = yield* start(client.open({ label: "x" }))
      expect((yield* server.snapshot).backlog).toBe(1)
      yield* Fiber.interrupt(opening)
      yield* settle
      for (const session of [client, server]) {
        const { backlog, streams, unacknowledgedOpens } = yield* session.snapshot
        expect([backlog, streams, unacknowledgedOpens]).toEqual([0, [], 0])
      }
    }))

  it.scoped("Session.open lets as many opens wait as the peer's backlog holds", () =>
    Effect.gen(function*() {
      const { frames, session } = yield* makeNative({ maxUnacknowledgedOpens: 1 }, { backlog: 3 })
      yield* Effect.forEach([1, 2, 3, 4], () => start(session.open()))
      expect((yield* frames).map((frame) => frame._tag)).toEqual(["Open", "Open", "Open"])
      expect((yield* session.snapshot).waitingOpens).toBe(1)
    }))
})

describe("Session.open with early data", () => {
  const early = { earlyCredit: { perStream: 4, inAll: 8 } }

  it.scoped("Session.open completes at once and sends up to the early credit, then what the ACK allows", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative({}, early)
      const stream = yield* session.open({ early: true })
      const write = yield* start(stream.write(bytes("abcdefgh")))
      expect(yield* frames).toMatchObject([{ _tag: "Open", id: 1 }, dat(1, bytes("abcd"))])
      yield* expectWaiting(write)
      yield* send(ack(1, 3))
      yield* Fiber.interrupt(write)
      expect(yield* frames).toEqual([dat(1, bytes("efg"))])
      expect((yield* session.snapshot).streams).toMatchObject([{ state: "Open", sendCredit: 0 }])
    }))

  it.scoped("Session.open with early data keeps within what the peer allows for all streams", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative({}, early)
      const streams = yield* Effect.forEach([1, 2, 3], () => session.open({ early: true }))
      yield* Effect.forEach(streams, (stream) => start(stream.write(bytes("ab"))))
      const sent = yield* frames
      expect(sent.flatMap((frame) => frame._tag === "Dat" ? [frame.id] : [])).toEqual([1, 3])
      yield* send(ack(1, 0))
      expect((yield* session.snapshot).streams.map((stream) => stream.sendCredit)).toEqual([2, 2, 0])
      yield* send(ack(5, 0))
      expect(yield* frames).toEqual([dat(5, bytes("ab"))])
      const fourth = yield* session.open({ early: true })
      yield* fourth.write(bytes("x"))
      expect(yield* frames).toMatchObject([{ _tag: "Open" }, dat(7, bytes("x"))])
    }))

  it.scoped("Session accepts an early stream with its bytes and end, and grants the rest of the window", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative({ streamBufferSize: 100 })
      yield* send(open(0, 5), dat(0, bytes("hi")), fin(0))
      expect((yield* session.snapshot).streams).toMatchObject([
        { state: "AwaitingAcceptEnded", bufferedBytes: 2, receiveCredit: 98, sendCredit: 5 }
      ])
      const stream = yield* session.accept
      expect(yield* frames).toEqual([ack(0, 0)])
      expect(text(yield* readAll(stream))).toBe("hi")
      yield* stream.write(bytes("12345"))
      yield* stream.end
      expect(yield* frames).toEqual([dat(0, bytes("12345")), fin(0)])
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scoped("Session sends as much as the window in HELLO allows when a peer opened by SYN", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative({ initialSendCredit: 9 }, { window: 5 })
      yield* send(syn(0))
      const stream = yield* session.accept
      yield* Effect.forkScoped(stream.write(bytes("0123456789")))
      expect(yield* frames).toEqual([ack(0, 1024), dat(0, bytes("01234"))])
      yield* send(ack(0, 2))
      expect(yield* frames).toEqual([dat(0, bytes("56"))])
    }))

  it.scoped("Session.open with early data serves a whole exchange between two sessions", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({
        client: { ...quiet, streamBufferSize: 4096 },
        server: { ...quiet, streamBufferSize: 65_536 }
      })
      yield* settle
      yield* Effect.forkScoped(server.run((stream) => Effect.flatMap(readAll(stream), (all) => stream.write(all))))
      const payload = new Uint8Array(50_000).fill(7)
      const answer = yield* Effect.scoped(Effect.gen(function*() {
        const stream = yield* client.open({ early: true })
        yield* Effect.fork(Effect.zipRight(stream.write(payload), stream.end))
        return yield* readAll(stream)
      }))
      expect(answer).toEqual(payload)
      yield* settle
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
    }))

  it.scoped("Session.open with early data costs one round trip for a request and its answer", () =>
    Effect.gen(function*() {
      const exchange = (options: { early: boolean }) =>
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions({
            client: quiet,
            server: quiet,
            link: { latency: "10 millis" }
          })
          yield* TestClock.adjust(10)
          yield* Effect.forkScoped(server.run((stream) => Effect.flatMap(readAll(stream), (all) => stream.write(all))))
          const fiber = yield* start(Effect.scoped(Effect.gen(function*() {
            const stream = yield* client.open(options)
            yield* stream.write(bytes("ping"))
            yield* stream.end
            return yield* readAll(stream)
          })))
          for (let millis = 0;; millis++) {
            yield* settle
            const exit = fiber.unsafePoll()
            if (exit !== null) return [millis, text(yield* exit)]
            yield* TestClock.adjust(1)
          }
        })
      expect([yield* exchange({ early: false }), yield* exchange({ early: true })]).toEqual([[40, "ping"], [
        20,
        "ping"
      ]])
    }))

  it.scoped("MuxStream of an early open fails with StreamReset when the peer refuses", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions({ client: quiet, server: { ...quiet, maxStreams: 0 } })
      yield* settle
      const stream = yield* client.open({ early: true })
      const reason = "the session has maxStreams streams"
      expect(yield* Effect.flip(stream.read)).toEqual(resetBy("peer", "read", ResetCode.Refused, reason))
      expect(yield* Effect.flip(stream.write(bytes("x")))).toEqual(resetBy("peer", "write", ResetCode.Refused, reason))
      expect((yield* client.snapshot).streams).toEqual([])
    }))

  it.scoped("MuxStream of an early open fails with StreamReset when no acceptor takes it in time", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      const stream = yield* client.open({ early: true })
      const read = yield* start(stream.read)
      yield* TestClock.adjust("30 seconds")
      expect(yield* failureOf(read)).toMatchObject({ _tag: "StreamReset", by: "local", code: ResetCode.Expired })
      yield* settle
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).backlog]).toEqual([[], 0])
    }))

  it.scoped("Session accepts streams with early data when the memory for windows is given away", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly({ server: { streamBufferSize: 65_536 } }))
      yield* settle
      for (let i = 0; i < 8; i++) {
        const stream = yield* client.open({ early: true })
        yield* stream.write(pattern(1024))
        expect(yield* readSome(yield* server.accept)).toEqual(pattern(1024))
      }
      const { counters, streams } = yield* server.snapshot
      expect(counters.refused).toBe(0)
      expect(streams.at(-1)!.receiveCredit).toBe(1024)
    }).pipe(Effect.provide(SharedLimits.layer({ maxBufferSize: 131_072 }))))

  it.scoped("Session.open with early data waits for the peer's answer when the peer lacks the dialect", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", quiet)
      const opening = yield* start(session.open({ early: true }))
      yield* expectWaiting(opening)
      yield* send(ack(1, 1024))
      expect((yield* Fiber.join(opening)).id).toBe(1)
      expect(yield* frames).toEqual([syn(1)])
    }))
})

describe("MuxStream.reset", () => {
  const makeStreams = (settings: Partial<Settings> = {}) =>
    Effect.gen(function*() {
      const options = { ...quiet, ...settings }
      const sessions = yield* makeSessions({ client: options, server: options })
      yield* settle
      const [near, far] = yield* Effect.all([sessions.client.open(), sessions.server.accept], { concurrency: 2 })
      return { ...sessions, near, far }
    })

  it.scoped("MuxStream.reset fails reads and writes of both ends with the code and the reason", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams()
      const waiting = yield* start(far.read)
      yield* near.reset({ code: 300, reason: "because" })
      expect(yield* failureOf(waiting)).toEqual(resetBy("peer", "read", 300, "because"))
      yield* settle
      expect(yield* Effect.flip(far.write(bytes("x")))).toEqual(resetBy("peer", "write", 300))
      expect(yield* Effect.flip(far.end)).toEqual(resetBy("peer", "write", 300))
      expect(yield* Effect.flip(near.read)).toEqual(resetBy("local", "read", 300, "because"))
      expect(yield* Effect.flip(near.write(bytes("x")))).toEqual(resetBy("local", "write", 300, "because"))
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
    }))

  it.scoped("MuxStream.reset lets the peer read the bytes that had arrived", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* near.write(bytes("before"))
      yield* settle
      yield* near.reset()
      yield* settle
      expect(text(yield* readSome(far))).toBe("before")
      expect(yield* Effect.flip(far.read)).toEqual(resetBy("peer", "read", ResetCode.Cancelled))
    }))

  it.scoped("MuxStream.reset fails the peer's waiting write and tells how many bytes were sent", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams({ streamBufferSize: 10 })
      const write = yield* start(far.write(new Uint8Array(100)))
      yield* near.reset({ code: 256 })
      expect(yield* failureOf(write)).toEqual(resetBy("peer", "write", 256, "", 10))
    }))

  it.scoped("MuxStream.reset after end keeps the end of its own direction", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* near.write(bytes("all"))
      yield* near.end
      yield* near.reset()
      yield* settle
      expect(text(yield* readAll(far))).toBe("all")
      expect(yield* Effect.flip(far.write(bytes("x")))).toEqual(resetBy("peer", "write", ResetCode.Cancelled))
    }))

  it.scoped("MuxStream.reset does nothing when both directions have ended, or at the second call", () =>
    Effect.gen(function*() {
      const { client, far, near } = yield* makeStreams()
      yield* Effect.all([near.end, far.end])
      yield* settle
      const before = (yield* client.snapshot).counters.framesOut
      yield* near.reset()
      expect(yield* near.read).toEqual(Option.none())
      expect((yield* client.snapshot).counters.framesOut).toEqual(before)
    }))

  it.scoped("MuxStream.reset dies when its code is no uint32", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      for (const code of [-1, 1.5, 2 ** 32, Number.NaN]) {
        expect((yield* Effect.flip(Effect.sandbox(near.reset({ code }))))._tag).toBe("Die")
      }
    }))

  it.scoped("Session answers STOP with RESET, and a second STOP with nothing", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative()
      yield* send(open(0))
      const stream = yield* session.accept
      yield* send(Record.encodeStop(0, 400), Record.encodeStop(0, 400))
      expect(yield* frames).toEqual([ack(0, 0), { _tag: "Reset", id: 0, code: 400, reason: "" }])
      yield* send(dat(0, bytes("still read")))
      expect(text(yield* readSome(stream))).toBe("still read")
    }))

  it.scoped("Session accepts a stream whose opener has stopped reading, then resets its direction", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative()
      yield* send(open(0), dat(0, bytes("log")), fin(0), Record.encodeStop(0, 0))
      const stream = yield* session.accept
      expect(text(yield* readAll(stream))).toBe("log")
      expect(yield* frames).toEqual([ack(0, 0), { _tag: "Reset", id: 0, code: 0, reason: "" }])
      expect((yield* session.snapshot).streams).toEqual([])
    }))

  it.scoped("Session ignores RESET and STOP for unknown streams", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative()
      yield* send(Record.encodeReset(0, 1, ""), Record.encodeStop(1, 1))
      expect([(yield* session.snapshot).counters.ignoredFrames, yield* frames]).toEqual([2, []])
    }))

  it.scoped("Session ends with PeerFlood when a peer opens and resets more streams than its budget", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makeNative()
      const storm = (streams: number, from: number) =>
        Effect.forEach(
          Array.from({ length: streams }, (_, i) => from + 2 * i),
          (id) => Effect.sync(() => [open(id), Record.encodeReset(id, 1, "")])
        ).pipe(
          Effect.flatMap((messages) => send(...messages.flat()))
        )
      yield* storm(10_000, 0)
      expect(yield* session.isClosed).toBe(false)
      yield* TestClock.adjust("1 seconds")
      yield* storm(1000, 20_000)
      expect(yield* session.isClosed).toBe(false)
      yield* storm(1, 22_000)
      expect(yield* session.awaitClosed).toEqual(
        new PeerFlood({ detail: "more than 1000 streams a second were opened and reset" })
      )
    }))

  it.scoped("Session counts no reset that answers its own STOP as one of its peer", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative()
      yield* Effect.forkScoped(session.run(() => Effect.void)) // the handler leaves, and reads nothing to the end
      for (let first = 0; first < 2 * 10_100; first += 200) {
        const ids = Array.from({ length: 100 }, (_, i) => first + 2 * i)
        yield* send(...ids.map((id) => open(id)))
        expect(yield* frames).toEqual(ids.flatMap((id) => [ack(id, 0), fin(id), { _tag: "Stop", id, code: 0 }]))
        yield* send(...ids.map((id) => Record.encodeReset(id, 0, "")))
      }
      expect(yield* session.isClosed).toBe(false)
    }))
})
