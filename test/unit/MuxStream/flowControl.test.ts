import { describe, expect, it } from "@effect/vitest"
import { NoCapacity } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { maxUint32 } from "../../../src/internal/wire/frame.js"
import { bytes, pattern } from "../../support/bytes.js"
import { expectWaiting, quiet, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, makeStreams, readAll, readSome, settle } from "../../support/sessions.js"

describe("MuxStream.write", () => {
  it.scoped("MuxStream.write waits when the window is full, until the peer reads", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* near.write(pattern(1024))
      const write = yield* start(near.write(bytes("x")))
      yield* expectWaiting(write)
      expect((yield* readSome(far)).byteLength).toBe(1024)
      yield* Fiber.join(write)
      expect(yield* readSome(far)).toEqual(bytes("x"))
    }))

  it.scoped("MuxStream.write completes on one stream when the window of another is full", () =>
    Effect.gen(function*() {
      const { client, near, server } = yield* makeStreams()
      const stuck = yield* start(near.write(pattern(5000)))
      const [other, otherFar] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      yield* Effect.fork(Effect.zipRight(other.write(pattern(50_000)), other.end))
      expect(yield* readAll(otherFar)).toEqual(pattern(50_000))
      yield* expectWaiting(stuck)
    }))

  it.scoped("MuxStream.write waits when the reader at the end of a chain of streams stops", () =>
    Effect.gen(function*() {
      const first = yield* makeStreams()
      const second = yield* makeStreams()
      yield* Effect.fork(Stream.run(first.far.readable, second.near.writable))
      let written = 0
      const writer = yield* start(
        Effect.forever(Effect.tap(first.near.write(pattern(100)), () => Effect.sync(() => (written += 100))))
      )
      yield* expectWaiting(writer)
      const stuck = written
      expect(stuck).toBeLessThanOrEqual(3 * 1024)
      yield* start(Stream.runDrain(second.far.readable))
      expect(written).toBeGreaterThan(3 * stuck)
    }))
})

describe("MuxStream", () => {
  it.scoped("MuxStream returns credit in halves of the window when its reader takes bytes", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(dat(1, pattern(511)))
      expect(yield* frames).toEqual([ack(1, 1024)])
      yield* stream.read
      expect(yield* frames).toEqual([])
      yield* send(dat(1, pattern(1)))
      expect(yield* frames).toEqual([])
      yield* stream.read
      expect(yield* frames).toEqual([ack(1, 512)])
      yield* send(dat(1, pattern(1024)))
      yield* stream.read
      expect(yield* frames).toEqual([ack(1, 1024)])
    }))

  it.scoped("MuxStream returns no credit for bytes that are read after the peer's FIN", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(dat(1, pattern(1024)), fin(1))
      yield* readAll(stream)
      expect(yield* frames).toEqual([ack(1, 1024)])
    }))

  it.scoped("MuxStream limits credit to 2^32-1 and counts the excess when the peer sends more", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(ack(1, maxUint32), ack(1, 7))
      const { counters, streams } = yield* session.snapshot
      expect([counters.creditOverflows, streams[0]?.sendCredit]).toEqual([2, maxUint32])
      yield* stream.write(bytes("on"))
      expect(yield* frames).toEqual([ack(1, 1024), dat(1, bytes("on"))])
    }))

  it.scoped("MuxStream.write uses credit above the window at once", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client")
      const open = yield* start(session.open())
      yield* send(ack(1, 1024))
      const stream = yield* Fiber.join(open)
      const write = yield* start(stream.write(pattern(3000)))
      yield* send(ack(1, 100_000))
      yield* Fiber.join(write)
      expect((yield* frames).map((frame) => frame._tag === "Dat" ? frame.payload.byteLength : frame._tag)).toEqual([
        "Syn",
        1024,
        1976
      ])
    }))
})

describe("MuxStream", () => {
  const sizes = [16, 1024, 65_536]
  for (const opener of sizes) {
    for (const acceptor of sizes) {
      it.scoped(`MuxStream carries all bytes with windows of opener ${opener}, acceptor ${acceptor}`, () =>
        Effect.gen(function*() {
          const { client, far, near, server } = yield* makeStreams({
            client: { streamBufferSize: opener },
            server: { streamBufferSize: acceptor }
          })
          const [there, back] = [pattern(20_000, 7), pattern(20_000, 8)]
          yield* Effect.fork(Effect.zipRight(near.write(there), near.end))
          yield* Effect.fork(Effect.zipRight(far.write(back), far.end))
          const [atFar, atNear] = yield* Effect.all([readAll(far), readAll(near)], { concurrency: 2 })
          expect(atFar).toEqual(there)
          expect(atNear).toEqual(back)
          const overruns = [yield* client.snapshot, yield* server.snapshot].map(({ counters }) =>
            counters.windowOverruns
          )
          expect(overruns).toEqual([0, 0])
        }))
    }
  }

  it.scoped("MuxStream opener grants the difference at once when its window is the larger one", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { streamBufferSize: 5000 })
      const open = yield* start(session.open())
      yield* send(ack(1, 1024))
      yield* Fiber.join(open)
      expect(yield* frames).toEqual([syn(1), ack(1, 3976)])
    }))

  it.scoped("MuxStream opener withholds credit until the surplus is used when its window is smaller", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { streamBufferSize: 1000 })
      const open = yield* start(session.open())
      yield* send(ack(1, 3000))
      const stream = yield* Fiber.join(open)
      yield* send(dat(1, pattern(2400)))
      expect((yield* readSome(stream)).byteLength).toBe(2400)
      expect(yield* frames).toEqual([syn(1)]) // the peer still has credit for 600 bytes
      yield* send(dat(1, pattern(100)))
      yield* stream.read
      expect(yield* frames).toEqual([ack(1, 500)])
    }))

  it.scoped("MuxStream opener grants its window once when maxPeerWindow is smaller", () =>
    Effect.gen(function*() {
      const settings = { streamBufferSize: 4000, maxPeerWindow: 2000 }
      const { client, far, near } = yield* makeStreams({ client: settings, server: settings })
      const write = yield* start(far.write(pattern(8000)))
      yield* expectWaiting(write)
      const { counters, streams } = yield* client.snapshot
      expect([counters.windowOverruns, counters.framesOut.ack, streams[0]?.bufferedBytes]).toEqual([0, 0, 4000])
      yield* Effect.fork(Effect.zipRight(Fiber.join(write), far.end))
      expect(yield* readAll(near)).toEqual(pattern(8000))
    }))

  it.scoped("MuxStream.read fails with NoCapacity when an acceptor's window exceeds maxPeerWindow", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams({
        client: { maxPeerWindow: 2000, dialect: "off" },
        server: { streamBufferSize: 65_536, dialect: "off" }
      })
      yield* start(far.write(pattern(5000)))
      expect(yield* readSome(near)).toEqual(pattern(5000).subarray(0, 2000))
      expect(yield* Effect.flip(near.read)).toEqual(new NoCapacity({ streamId: 1 }))
    }))

  it.scoped("MuxStream.read gets all bytes when a native acceptor's window exceeds maxPeerWindow", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({
        client: { maxPeerWindow: 2000 },
        server: { streamBufferSize: 65_536 }
      })
      yield* settle
      const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      const write = yield* start(Effect.zipRight(far.write(pattern(5000)), far.end))
      expect((yield* client.snapshot).streams).toMatchObject([{ bufferedBytes: 1024, receiveCredit: 0 }])
      yield* expectWaiting(write)
      expect(yield* readAll(near)).toEqual(pattern(5000))
    }))
})

describe("MuxStream.read", () => {
  it.scoped("MuxStream.read fails with NoCapacity for each waiting and later reader when overrun", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server", { ...quiet, streamBufferSize: 8 })
      yield* send(syn(1))
      const stream = yield* session.accept
      const readers = yield* Effect.replicateEffect(start(stream.read), 3)
      yield* send(dat(1, pattern(9)))
      const [first, ...others] = readers
      expect(yield* Fiber.join(first!)).toEqual(Option.some(pattern(8)))
      const error = new NoCapacity({ streamId: 1 })
      for (const reader of others) expect(yield* Effect.flip(Fiber.join(reader))).toEqual(error)
      expect(yield* Effect.flip(stream.read)).toEqual(error)
    }))
})

describe("MuxStream", () => {
  it.scoped("MuxStream of an acceptor starts with its own buffer size as credit, as Go assumes", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...quiet, streamBufferSize: 100 })
      yield* send(syn(1))
      const stream = yield* session.accept
      const write = yield* start(stream.write(pattern(300)))
      yield* expectWaiting(write)
      expect(yield* frames).toEqual([ack(1, 100), dat(1, pattern(300).subarray(0, 100))])
    }))

  for (const initialSendCredit of [0, 40]) {
    it.scoped(`MuxStream of an acceptor starts with initialSendCredit when it is set: ${initialSendCredit}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer("server", { ...quiet, initialSendCredit })
        yield* send(syn(1))
        const stream = yield* session.accept
        const write = yield* start(stream.write(pattern(100)))
        yield* expectWaiting(write)
        const sent = (yield* frames).map((frame) => frame._tag === "Dat" ? frame.payload.byteLength : frame)
        expect(sent).toEqual(initialSendCredit === 0 ? [ack(1, 1024)] : [ack(1, 1024), 40])
        yield* send(ack(1, 100))
        yield* Fiber.join(write)
        expect(yield* frames).toEqual([dat(1, pattern(100).subarray(initialSendCredit))])
      }))
  }

  it.scoped("MuxStream of an opener starts with the credit of the ACK", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { ...quiet, initialSendCredit: 5000 })
      const open = yield* start(session.open())
      yield* send(ack(1, 0))
      const write = yield* start(Effect.flatMap(Fiber.join(open), (stream) => stream.write(pattern(10))))
      yield* expectWaiting(write)
      expect((yield* frames).filter((frame) => frame._tag === "Dat")).toEqual([])
      yield* send(ack(1, 10))
      yield* Fiber.join(write)
    }))
})
