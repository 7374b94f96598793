import { describe, expect, it } from "@effect/vitest"
import { KeepAliveExpired } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { InBandPings } from "../../../../src/internal/session/inBandPings.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import * as Record from "../../../../src/internal/wire/record.js"
import { pattern } from "../../../support/bytes.js"
import { start } from "../../../support/observe.js"
import { ack, makePeer, syn } from "../../../support/scriptedPeer.js"
import { makeSessions, readSome, settle } from "../../../support/sessions.js"

const noPing = { ping: false }

const hello = (features: number) => Record.encodeHello({ features })

const recordOf = (message: Uint8Array) => Record.decodeRecord(message.subarray(Frame.headerSize))

/** The PINGs among the frames. */
const pingsOf = (frames: ReadonlyArray<Frame.Frame | Frame.Malformed>) =>
  frames.flatMap((frame) => {
    if (frame._tag !== "Dat" || frame.id !== Record.reservedId) return []
    const record = Record.decodeRecord(frame.payload)
    return record._tag === "Ping" ? [record.payload] : []
  })

describe("InBandPings", () => {
  /** Pings with a log of what is answered, and the payloads that were sent. */
  const makePings = () => {
    const log: Array<string> = []
    const sent: Array<Uint8Array> = []
    const pings = new InBandPings((message) => {
      const record = recordOf(message)
      if (record._tag === "Ping") sent.push(record.payload)
    })
    return { log, sent, ping: (name: string) => pings.ping(() => log.push(name)), pings }
  }

  it("InBandPings takes a PONG for the answer to its ping and to all earlier ones", () => {
    const { log, ping, pings, sent } = makePings()
    for (const name of ["a", "b", "c"]) ping(name)
    expect([pings.onPong(sent[1]!), log]).toEqual([true, ["a", "b"]])
    expect([pings.onPong(sent[0]!), log]).toEqual([false, ["a", "b"]])
    expect([pings.onPong(sent[2]!), log]).toEqual([true, ["a", "b", "c"]])
  })

  it("InBandPings ignores a PONG that answers no ping, and remembers 16 pings", () => {
    const { log, ping, pings, sent } = makePings()
    for (let i = 0; i < 17; i++) ping(String(i))
    expect([pings.onPong(new Uint8Array(8)), pings.onPong(sent[0]!), log]).toEqual([false, false, []])
    expect([pings.onPong(sent[16]!), log.length]).toEqual([true, 16])
  })
})

describe("Session over a transport that cannot ping", () => {
  it.scoped("Session pings by records, and lives while its peer answers", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ link: noPing })
      yield* settle
      for (let i = 0; i < 10; i++) yield* Effect.zipRight(TestClock.adjust("10 seconds"), settle)
      expect([yield* client.isClosed, yield* server.isClosed]).toEqual([false, false])
      const { dialect } = yield* client.snapshot
      expect(dialect).toMatchObject({ features: expect.arrayContaining(["ping"]) })
    }))

  it.scoped("Session ends with KeepAliveExpired when its peer falls silent", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", {}, noPing)
      yield* send(hello(Record.Feature.ping))
      const [first] = pingsOf(yield* frames)
      yield* send(Record.encodePong(first!))
      yield* TestClock.adjust("10 seconds")
      expect(pingsOf(yield* frames).length).toBe(1)
      expect(yield* session.isClosed).toBe(false)
      yield* TestClock.adjust("10 seconds")
      expect(yield* session.awaitClosed).toEqual(new KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 10_000 }))
    }))

  it.scoped("Session has no keep-alive when its peer lacks the dialect, its pings, or has them off", () =>
    Effect.gen(function*() {
      const plain = yield* makePeer("client", {}, noPing)
      yield* plain.send(syn(0))
      const other = yield* makePeer("client", {}, noPing)
      yield* other.send(hello(Record.Feature.open))
      const off = yield* makePeer("client", { dialect: "off" }, noPing)
      yield* off.send(hello(Record.Feature.ping))
      yield* TestClock.adjust("1 hour")
      for (const { frames, session } of [plain, other, off]) {
        expect([yield* session.isClosed, pingsOf(yield* frames)]).toEqual([false, []])
      }
    }))

  it.scoped("Session answers a PING ahead of the bytes that wait", () =>
    Effect.gen(function*() {
      const { frames, pair, send, session } = yield* makePeer("client", {}, { ...noPing, capacity: 1 })
      yield* send(hello(Record.Feature.ping))
      const opening = yield* start(session.open())
      yield* send(ack(1, 100_000))
      const stream = yield* Fiber.join(opening)
      yield* pair.stall("client")
      yield* start(stream.write(pattern(1000)))
      yield* start(stream.write(pattern(1000)))
      const ping = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
      yield* send(Record.encodePing(ping))
      yield* pair.resume("client")
      const sent = (yield* frames).filter((frame) => frame._tag === "Dat").map((frame) =>
        frame.id === 1 ? "bytes" : Record.decodeRecord(frame.payload)._tag
      )
      expect(sent.indexOf("Pong")).toBeGreaterThanOrEqual(0)
      expect(sent.lastIndexOf("bytes")).toBeGreaterThan(sent.indexOf("Pong"))
    }))

  it.scoped("Session lets windows grow by the round trips of its records", () =>
    Effect.gen(function*() {
      const settings = { streamBufferSize: 1024, maxStreamBufferSize: 8192 }
      const { client, server } = yield* makeSessions({
        client: settings,
        server: settings,
        link: { ...noPing, latency: 10 }
      })
      yield* TestClock.adjust(10)
      const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 }).pipe(
        Effect.fork,
        Effect.flatMap((fiber) => Effect.zipRight(pass(100), Fiber.join(fiber)))
      )
      yield* start(near.write(pattern(100_000)))
      yield* start(Effect.forever(readSome(far)))
      yield* pass(500)
      const snapshot = yield* server.snapshot
      expect(snapshot.streams[0]!.receiveCredit + snapshot.streams[0]!.bufferedBytes).toBeGreaterThan(4096)
    }))
})

/** Moves the clock in steps of a millisecond. */
const pass = (millis: number) => Effect.repeatN(Effect.zipRight(TestClock.adjust(1), settle), millis - 1)
