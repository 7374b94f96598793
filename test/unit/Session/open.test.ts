import { describe, expect, it } from "@effect/vitest"
import { AcceptTimeout, DuplicateStream, SessionClosed, StreamRefused, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, readSome, settle } from "../../support/sessions.js"

const timedOut = new AcceptTimeout({ afterMillis: 30_000 })

describe("Session.open", () => {
  for (const [role, ids] of [["client", [1, 3, 5]], ["server", [0, 2, 4]]] as const) {
    it.scoped(`Session.open of a ${role} uses the ids ${ids.join(", ")}, and completes when the peer accepts`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer(role)
        const opens = yield* Effect.forEach(ids, () => start(session.open()))
        expect(yield* frames).toEqual(ids.map(syn))
        yield* expectWaiting(...opens)
        yield* send(ack(ids[1], 1024), ack(ids[0], 0))
        const streams = [yield* Fiber.join(opens[0]!), yield* Fiber.join(opens[1]!)]
        expect(streams.map((stream) => stream.id)).toEqual([ids[0], ids[1]])
        yield* expectWaiting(opens[2]!)
        expect((yield* session.snapshot).counters.opened).toBe(2)
      }))
  }

  it.scoped("Session and MuxStream have the local and the remote address", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions()
      const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      const [ours, theirs] = [client.localAddress, client.remoteAddress]
      expect(ours).not.toEqual(theirs)
      expect([server.localAddress, server.remoteAddress]).toEqual([theirs, ours])
      expect([near.localAddress, near.remoteAddress]).toEqual([ours, theirs])
      expect([far.localAddress, far.remoteAddress]).toEqual([theirs, ours])
    }))

  it.scoped("Session.open fails with AcceptTimeout after 30 s or the streamAcceptDeadline", () =>
    Effect.gen(function*() {
      const standard = yield* makePeer("client", quiet)
      const hurried = yield* makePeer("client", { ...quiet, streamAcceptDeadline: "1500 millis" })
      const [long, short] = [yield* start(standard.session.open()), yield* start(hurried.session.open())]
      yield* TestClock.adjust(1499)
      yield* expectWaiting(long, short)
      yield* TestClock.adjust(1)
      expect(yield* failureOf(short)).toEqual(new AcceptTimeout({ afterMillis: 1500 }))
      yield* TestClock.adjust(28_499)
      yield* expectWaiting(long)
      yield* TestClock.adjust(1)
      expect(yield* failureOf(long)).toEqual(timedOut)
    }))

  it.scoped("Session.open waits without limit when the deadline is infinite", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("client", { ...quiet, streamAcceptDeadline: Duration.infinity })
      const open = yield* start(session.open())
      yield* TestClock.adjust("1000 days")
      yield* send(ack(1, 1))
      expect((yield* Fiber.join(open)).id).toBe(1)
    }))

  it.scoped("Session.open fails and sends no further frame when the peer refuses", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client")
      const open = yield* start(session.open())
      yield* send(fin(1))
      expect(yield* failureOf(open)).toEqual(new StreamRefused({ streamId: 1 }))
      expect(yield* frames).toEqual([syn(1)])
      const { counters, streams, unacknowledgedOpens } = yield* session.snapshot
      expect([counters.opened, streams, unacknowledgedOpens]).toEqual([0, [], 0])
    }))

  it.scoped("Session.open fails unanswered, queued and later calls with the cause when the session ends", () =>
    Effect.gen(function*() {
      const { pair, session } = yield* makePeer("client", { maxUnacknowledgedOpens: 1 })
      const opens = [yield* start(session.open()), yield* start(session.open())]
      yield* pair.cut
      const lost = new TransportFailure({ code: 1006, reason: "" })
      for (const open of opens) expect(yield* failureOf(open)).toEqual(lost)
      expect(yield* Effect.flip(session.open())).toEqual(lost)
      expect(yield* Effect.flip(session.open({ id: 7 }))).toEqual(lost)
    }))
})

/** The ways in which a caller gives up an open before the peer has answered. */
const givingUp = {
  "timed out": (open: Fiber.Fiber<unknown, unknown>) => Effect.zipRight(TestClock.adjust("30 seconds"), open.await),
  "was interrupted": (open: Fiber.Fiber<unknown, unknown>) => Fiber.interrupt(open)
}

for (const [how, giveUp] of Object.entries(givingUp)) {
  describe("Session.open", () => {
    const makeGivenUp = Effect.gen(function*() {
      const peer = yield* makePeer("client", quiet)
      const open = yield* start(peer.session.open())
      yield* giveUp(open)
      return peer
    })

    // A Go peer forgets a FIN that arrives before its acceptance.
    it.scoped(`Session.open sends no FIN before the late answer when the open ${how}`, () =>
      Effect.gen(function*() {
        const { frames, session } = yield* makeGivenUp
        expect(yield* frames).toEqual([syn(1)])
        expect((yield* session.snapshot).streams).toMatchObject([{ id: 1, state: "Cancelling" }])
      }))

    it.scoped(`Session.open answers a late ACK by FIN, and then discards bytes, when the open ${how}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makeGivenUp
        yield* send(ack(1, 1024))
        expect(yield* frames).toEqual([syn(1), fin(1)])
        yield* send(dat(1, new Uint8Array(1000)), dat(1, new Uint8Array(24)))
        expect(yield* frames).toEqual([ack(1, 1000)])
        yield* send(fin(1))
        expect((yield* session.snapshot).streams).toEqual([])
        expect(yield* frames).toEqual([])
      }))

    it.scoped(`Session.open removes the stream when the peer refuses late and the open ${how}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makeGivenUp
        yield* send(fin(1))
        expect((yield* session.snapshot).streams).toEqual([])
        expect(yield* frames).toEqual([syn(1)])
      }))

    it.scoped(`Session.open keeps its id and place until the answer when the open ${how}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makeGivenUp
        expect(yield* Effect.flip(session.open({ id: 1 }))).toEqual(new DuplicateStream({ streamId: 1 }))
        expect((yield* session.snapshot).unacknowledgedOpens).toBe(1)
        yield* send(ack(1, 1024), fin(1))
        expect((yield* session.snapshot).unacknowledgedOpens).toBe(0)
        yield* start(session.open())
        expect(yield* frames).toEqual([syn(1), fin(1), syn(3)])
      }))
  })
}

describe("Session.open", () => {
  it.scoped("Session.open keeps at most 100 opens unanswered, and sends the next SYN at each answer", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", quiet)
      const opens = yield* Effect.replicateEffect(Effect.fork(session.open()), 104)
      yield* settle
      expect(yield* frames).toEqual(Array.from({ length: 100 }, (_, i) => syn(2 * i + 1)))
      const { unacknowledgedOpens, waitingOpens } = yield* session.snapshot
      expect([unacknowledgedOpens, waitingOpens]).toEqual([100, 4])

      yield* send(ack(9, 1))
      expect((yield* Fiber.join(opens[4]!)).id).toBe(9)
      yield* send(fin(1))
      expect(yield* failureOf(opens[0]!)).toEqual(new StreamRefused({ streamId: 1 }))
      expect((yield* frames).filter((frame) => frame._tag === "Syn")).toEqual([syn(201), syn(203)])
      yield* send(ack(203, 1), ack(201, 1))
      expect([(yield* Fiber.join(opens[100]!)).id, (yield* Fiber.join(opens[101]!)).id]).toEqual([201, 203])
    }))

  it.scoped("Session.open fails in the queue after 30 s from the call, and then sends no SYN", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { ...quiet, maxUnacknowledgedOpens: 1 })
      yield* start(session.open())
      yield* TestClock.adjust("20 seconds")
      const second = yield* start(session.open())
      yield* TestClock.adjust("29999 millis")
      yield* expectWaiting(second)
      yield* TestClock.adjust(1)
      expect(yield* failureOf(second)).toEqual(timedOut)
      yield* send(ack(1, 1))
      expect((yield* frames).filter((frame) => frame._tag === "Syn")).toEqual([syn(1)])
      expect((yield* session.snapshot).waitingOpens).toBe(0)
    }))

  it.scoped("Session.open leaves the queue when the caller is interrupted", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { ...quiet, maxUnacknowledgedOpens: 1 })
      const opens = yield* Effect.replicateEffect(start(session.open()), 3)
      yield* Fiber.interrupt(opens[1]!)
      expect((yield* session.snapshot).waitingOpens).toBe(1)
      yield* send(ack(1, 1024), ack(3, 1024))
      expect(yield* frames).toEqual([syn(1), syn(3)])
      expect((yield* Fiber.join(opens[2]!)).id).toBe(3)
    }))

  it.scoped("Session.open keeps an interrupted open among the unanswered until the peer answers", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { ...quiet, maxUnacknowledgedOpens: 1 })
      const opens = yield* Effect.replicateEffect(start(session.open()), 2)
      yield* Fiber.interrupt(opens[0]!)
      expect(yield* frames).toEqual([syn(1)])
      yield* send(ack(1, 1))
      expect(yield* frames).toEqual(expect.arrayContaining([fin(1), syn(3)]))
    }))
})

describe("Session.open", () => {
  it.scoped("Session.open uses a given id, and later opens skip each id that is live or over", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", quiet)
      for (const id of [undefined, 5, 7, 0xffff_fffd]) yield* start(session.open({ id }))
      yield* send(fin(5))
      yield* Effect.replicateEffect(start(session.open()), 2)
      expect(yield* frames).toEqual([1, 5, 7, 0xffff_fffd, 3, 9].map(syn))
    }))

  it.scoped("Session.open carries bytes on a stream with a given id", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      const [near, far] = yield* Effect.all([client.open({ id: 99 }), server.accept], { concurrency: 2 })
      yield* near.write(bytes("hello"))
      expect([near.id, far.id, text(yield* readSome(far))]).toEqual([99, 99, "hello"])
    }))

  it.scoped("Session.open fails with DuplicateStream when a given id is live, queued or used", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("client", { ...quiet, maxUnacknowledgedOpens: 2 })
      yield* start(session.open())
      yield* send(fin(1)) // the peer refused the stream, so its id is used
      yield* start(session.open({ id: 9 }))
      yield* send(fin(9))
      yield* start(session.open({ id: 11 }))
      yield* start(session.open())
      yield* start(session.open({ id: 13 }))
      expect((yield* session.snapshot).waitingOpens).toBe(1)
      for (const id of [1, 3, 9, 11, 13]) {
        expect([id, yield* Effect.flip(session.open({ id }))]).toEqual([id, new DuplicateStream({ streamId: id })])
      }
    }))

  it.scoped("Session.open accepts an id again when its first open was interrupted in the queue", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", { ...quiet, maxUnacknowledgedOpens: 1 })
      yield* start(session.open())
      yield* Fiber.interrupt(yield* start(session.open({ id: 7 })))
      yield* send(ack(1, 1024))
      yield* start(session.open({ id: 7 }))
      expect(yield* frames).toEqual([syn(1), syn(7)])
    }))

  it.scoped("Session.open dies when a given id is invalid for the role", () =>
    Effect.gen(function*() {
      const { frames, session } = yield* makePeer("client", quiet)
      for (const id of [2, -1, 1.5, Number.NaN, 2 ** 32 - 1, 2 ** 32 + 1]) {
        const exit = yield* Effect.exit(session.open({ id }))
        expect([id, Exit.isFailure(exit) && Cause.isDie(exit.cause)]).toEqual([id, true])
      }
      expect(yield* frames).toEqual([])
    }))
})

describe("Session.open", () => {
  it.scoped("Session.open ends its stream when the scope closes", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", quiet)
      const use = yield* start(Effect.scoped(session.open()))
      yield* send(ack(1, 1024))
      yield* Fiber.join(use)
      expect(yield* frames).toEqual([syn(1), fin(1)])
    }))

  it.scoped("Session.open holds no stream when the open fails", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("client", quiet)
      const use = yield* start(Effect.scoped(session.open()))
      yield* send(fin(1))
      yield* failureOf(use)
      expect(yield* frames).toEqual([syn(1)])
      yield* session.close
      expect(yield* Effect.flip(Effect.scoped(session.open()))).toEqual(
        new SessionClosed({ by: "local", code: 1000, reason: "" })
      )
    }))
})
