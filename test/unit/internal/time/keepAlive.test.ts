import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import { BrokenPipe, KeepAliveExpired, SessionClosed } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { encode } from "../../../../src/internal/wire/frame.js"
import { pattern } from "../../../support/bytes.js"
import { failureOf, quiet, start } from "../../../support/observe.js"
import { ack } from "../../../support/scriptedPeer.js"
import { makeSessions, makeStreams, settle } from "../../../support/sessions.js"
import { withParts } from "../../../support/withParts.js"

/** A session whose pings are counted and, if `lost`, dropped; and the other end of its link. */
const makeWatched = (options?: SessionConfig.PartialSettings & { readonly lost?: boolean }) =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair()
    const pings: Array<number> = []
    const clock = yield* Effect.clock
    const transport = withParts(pair.client, {
      ping: () => {
        pings.push(clock.unsafeCurrentTimeMillis())
        if (options?.lost !== true) pair.client.ping?.()
      }
    })
    const ended = yield* Deferred.make<number>()
    pair.server.listen({
      onMessage: () => {},
      onText: () => {},
      onWritable: () => {},
      onClose: (end) => Deferred.unsafeDone(ended, Effect.succeed(end.code))
    })
    const session = yield* Effect.provideService(Session.makeClient(options), Transport, transport)
    yield* settle
    return { session, pings, pair, far: pair.server, ended: Deferred.await(ended) }
  })

describe("keepAlive", () => {
  it.scoped("keepAlive pings at once and then every 10 s while the peer answers", () =>
    Effect.gen(function*() {
      const { pings, session } = yield* makeWatched()
      expect(pings).toEqual([0])
      yield* TestClock.adjust(9999)
      expect(pings).toEqual([0])
      yield* TestClock.adjust(1)
      expect(pings).toEqual([0, 10_000])
      yield* TestClock.adjust("40 seconds")
      expect(pings).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000])
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("keepAlive pings at the configured interval", () =>
    Effect.gen(function*() {
      const { pings } = yield* makeWatched({ keepAliveInterval: "3 seconds" })
      yield* TestClock.adjust("10 seconds")
      expect(pings).toEqual([0, 3000, 6000, 9000])
    }))

  it.scoped("keepAlive pings by a schedule until the schedule ends", () =>
    Effect.gen(function*() {
      const beat = Schedule.intersect(Schedule.linear("1 second"), Schedule.recurs(3))
      const { pings, session } = yield* makeWatched({ keepAliveInterval: beat, lost: true })
      expect(pings).toEqual([0])
      yield* TestClock.adjust("999 millis")
      expect(yield* session.isClosed).toBe(false)
      yield* TestClock.adjust(1)
      expect(yield* session.awaitClosed).toEqual(new KeepAliveExpired({ intervalMillis: 1000, lastSeen: 0 }))
      const answered = yield* makeWatched({ keepAliveInterval: beat })
      yield* TestClock.adjust("1 minute")
      expect(answered.pings).toEqual([1000, 2000, 4000, 7000])
      expect(yield* answered.session.isClosed).toBe(false)
    }))

  it.scoped("keepAlive pings at jittered intervals when its schedule is jittered", () =>
    Effect.gen(function*() {
      const keepAliveInterval = Schedule.jitteredWith(Schedule.spaced("10 seconds"), { min: 0.5, max: 1 })
      const { pings, session } = yield* makeWatched({ keepAliveInterval })
      yield* TestClock.adjust("1 hour")
      const delays = pings.slice(1).map((at, i) => at - pings[i]!)
      expect([Math.min(...delays) >= 5000, Math.max(...delays) <= 10_000]).toEqual([true, true])
      expect(new Set(delays).size).toBeGreaterThan(delays.length / 2)
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("keepAlive sends a pong halfway through each delay of its schedule", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const clock = yield* Effect.clock
      const pongs: Array<number> = []
      let received = 0
      const transport = withParts(pair.client, {
        receiveCount: () => ++received,
        ping: () => {},
        pong: () => pongs.push(clock.unsafeCurrentTimeMillis())
      })
      const keepAliveInterval = Schedule.linear("1 second") // ticks after 1, 3 and 6 s
      yield* Effect.provideService(Session.makeClient({ keepAliveInterval }), Transport, transport)
      yield* TestClock.adjust("6 seconds")
      expect(pongs).toEqual([500, 2000, 4500])
    }))

  it.scoped("keepAlive expires at the first tick when nothing was ever received", () =>
    Effect.gen(function*() {
      const { ended, session } = yield* makeWatched({ lost: true })
      yield* TestClock.adjust(9999)
      expect(yield* session.isClosed).toBe(false)
      yield* TestClock.adjust(1)
      expect(yield* session.awaitClosed).toEqual(new KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 0 }))
      expect(yield* ended).toBe(1001)
    }))

  it.scoped("keepAlive expires at the tick that ends an interval of silence", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions({ server: quiet })
      yield* Effect.addFinalizer(() => pair.cut)
      yield* TestClock.adjust(25_000)
      yield* pair.stall("server")
      yield* TestClock.adjust(14_999) // the tick at 30 s knows of the pong that came just after 20 s
      expect(yield* client.isClosed).toBe(false)
      yield* TestClock.adjust(1)
      expect(yield* client.isClosed).toBe(true)
      yield* TestClock.adjust("1 second") // the peer's close frame, which does not come
      expect(yield* client.awaitClosed).toEqual(new KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 30_000 }))
    }))

  it.scoped("keepAlive forgives a silence shorter than an interval", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions({ server: quiet })
      yield* Effect.addFinalizer(() => pair.cut)
      for (let i = 0; i < 5; i++) {
        yield* pair.stall("server")
        yield* TestClock.adjust(9999)
        yield* pair.resume("server")
        yield* settle
        yield* TestClock.adjust(1)
      }
      expect(yield* client.isClosed).toBe(false)
    }))

  const signs = {
    "an ignored message": (far: Transport) => far.send([encode(ack(77, 1))]),
    "a pong": (far: Transport) => far.ping?.() // a ping and an unsolicited pong
  }
  for (const [name, show] of Object.entries(signs)) {
    it.scoped(`keepAlive takes ${name} for a sign of life`, () =>
      Effect.gen(function*() {
        const { far, session } = yield* makeWatched({ lost: true })
        yield* TestClock.adjust(5000)
        for (let i = 0; i < 5; i++) {
          show(far)
          yield* TestClock.adjust("10 seconds")
          expect(yield* session.isClosed).toBe(false)
        }
        yield* TestClock.adjust(5000)
        expect(yield* session.awaitClosed).toEqual(new KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 50_000 }))
      }))
  }

  it.scoped("keepAlive sends a pong halfway to the next tick when its ping is unanswered", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const clock = yield* Effect.clock
      const pongs: Array<number> = []
      const asked: Array<(() => void) | undefined> = []
      let signs = 0
      const transport = withParts(pair.client, {
        receiveCount: () => ++signs, // the peer sends without end, and its answers stand behind that
        ping: (answered) => asked.push(answered),
        pong: () => pongs.push(clock.unsafeCurrentTimeMillis())
      })
      yield* Effect.provideService(Session.makeClient(), Transport, transport)
      yield* TestClock.adjust("29 seconds")
      expect(asked.length).toBe(3)
      expect(pongs).toEqual([5000, 15_000, 25_000])
      yield* TestClock.adjust("2 seconds")
      asked.at(-1)?.()
      yield* TestClock.adjust("8 seconds")
      expect(pongs).toEqual([5000, 15_000, 25_000])
    }))

  it.scoped("keepAlive survives when only the peer's keep-alive comes, at the same tick", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      let heard = 0
      let said = 0
      // Pings and their answers wait behind data. Messages of the peer come just before a tick, or just after.
      const client = withParts(pair.client, { receiveCount: () => heard, ping: () => {} })
      const run = yield* FiberSet.makeRuntime()
      const arrive = Effect.sync(() => void heard++)
      const say = () => void run(Effect.delay(arrive, said++ % 2 === 0 ? 19 : 1))
      let data = 0
      const server = withParts(pair.server, { receiveCount: () => ++data, ping: say, pong: say })
      yield* Effect.provideService(Session.makeServer(), Transport, server)
      yield* TestClock.adjust(10)
      const session = yield* Effect.provideService(Session.makeClient(), Transport, client)
      yield* TestClock.adjust("5 minutes")
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("keepAlive survives under load", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams()
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      // endless, but not breathless: the TestClock waits for a moment in which all rest
      yield* Effect.fork(Effect.repeat(near.write(pattern(30_000)), Schedule.spaced("100 millis")))
      let read = 0
      yield* Effect.fork(Stream.runForEach(near.readable, (chunk) => Effect.sync(() => (read += chunk.byteLength))))
      for (let i = 0; i < 6; i++) {
        const before = read
        yield* TestClock.adjust("10 seconds")
        expect(read).toBeGreaterThan(before)
      }
      expect([yield* client.isClosed, yield* server.isClosed]).toEqual([false, false])
    }))

  it.scoped("keepAlive does not run when its interval is infinite", () =>
    Effect.gen(function*() {
      const { pings, session } = yield* makeWatched({ ...quiet, lost: true })
      expect(Array.from(yield* TestClock.sleeps())).toEqual([])
      yield* TestClock.adjust("1 day")
      expect(pings).toEqual([])
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scoped("keepAlive does not run when the transport cannot ping and the peer lacks the dialect", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ link: { ping: false }, server: { dialect: "off" } })
      yield* settle
      expect(Array.from(yield* TestClock.sleeps())).toEqual([])
      yield* TestClock.adjust("1 day")
      expect([yield* client.isClosed, yield* server.isClosed]).toEqual([false, false])
    }))

  it.scoped("keepAlive fails all that waits with its cause when it expires", () =>
    Effect.gen(function*() {
      const heard: Array<unknown> = []
      const closeCallback = (cause: unknown) => Effect.sync(() => heard.push(cause))
      const { client, near, pair, server } = yield* makeStreams({ client: { closeCallback }, server: quiet })
      yield* Effect.addFinalizer(() => pair.cut)
      const read = yield* start(near.read)
      const write = yield* start(near.write(pattern(2000)))
      const accept = yield* start(client.accept)
      const open = yield* start(client.open())
      const closed = yield* start(client.awaitClosed)
      yield* pair.stall("server")
      yield* TestClock.adjust("21 seconds")
      const cause = new KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 10_000 })
      expect([yield* failureOf(read), yield* failureOf(write)]).toEqual([
        new BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause }),
        new BrokenPipe({ streamId: 1, operation: "write", reason: "SessionEnded", written: 1024, cause })
      ])
      expect([yield* failureOf(accept), yield* failureOf(open), yield* Fiber.join(closed)]).toEqual([
        cause,
        cause,
        cause
      ])
      expect(heard).toEqual([cause])
      expect(yield* server.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1001, reason: "" }))
    }))

  it.scoped("keepAlive stops when the session closes", () =>
    Effect.gen(function*() {
      const { pings, session } = yield* makeWatched()
      yield* session.close
      yield* TestClock.adjust("1 minute")
      expect(pings).toEqual([0])
    }))

  it.scoped("keepAlive fails the session when the transport throws at a ping", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const cause = new Error("no")
      const transport = withParts(pair.client, {
        ping: () => {
          throw cause
        }
      })
      const session = yield* Effect.provideService(Session.makeClient(), Transport, transport)
      yield* TestClock.adjust("1 second")
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "TransportFailure", reason: "cannot ping", cause })
    }))
})
