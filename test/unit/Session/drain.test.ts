import { describe, expect, it } from "@effect/vitest"
import { ResetCode } from "effect-wsmux/MuxStream"
import type { Settings } from "effect-wsmux/SessionConfig"
import { AcceptTimeout, BrokenPipe, SessionClosed, SessionDraining, StreamReset } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import type * as Frame from "../../../src/internal/wire/frame.js"
import * as Record from "../../../src/internal/wire/record.js"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, quietly, start } from "../../support/observe.js"
import { ack, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, makeStreams, readSome, settle } from "../../support/sessions.js"

const { goAway, open, reset } = Record.Feature

const announcement = { code: 0, graceMillis: 30_000, redial: true, reason: "" }

const drainingBy = (by: "local" | "peer", more: Partial<typeof announcement> = {}) =>
  new SessionDraining({ by, ...announcement, ...more })

const closedBy = (by: "local" | "peer", reason = "drained") => new SessionClosed({ by, code: 1001, reason })

const graceHasPassed = "drained: the grace has passed"

/** The records among the frames, decoded, beside the other frames. */
const decoded = (frames: ReadonlyArray<Frame.Frame | Frame.Malformed>) =>
  frames.map((frame) =>
    frame._tag === "Dat" && frame.id === Record.reservedId ? Record.decodeRecord(frame.payload) : frame
  )

const openRecord = (id: number) => Record.encodeOpen(id, 1024, Record.noIntroduction)

/** A session whose scripted peer speaks the dialect. */
const makeNative = (role: "client" | "server", settings: Partial<Settings> = {}) =>
  Effect.gen(function*() {
    const peer = yield* makePeer(role, { ...quiet, ...settings })
    yield* peer.send(Record.encodeHello({ features: open | reset | goAway }))
    return { ...peer, frames: Effect.map(peer.frames, decoded) }
  })

describe("Session.drain", () => {
  it.scoped("Session.drain closes the session with code 1001 at once when there is no stream", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      yield* settle
      yield* server.drain()
      expect([yield* server.awaitClosed, yield* client.awaitClosed]).toEqual([closedBy("local"), closedBy("peer")])
      yield* server.drain() // completes
    }))

  it.scoped("Session.drain serves the streams that run, and closes the session when the last is over", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams(quietly())
      const other = yield* server.open().pipe(Effect.zipLeft(client.accept, { concurrent: true }))
      const drain = yield* start(server.drain({ grace: "1 minute" }))
      yield* near.write(bytes("after"))
      expect(text(yield* readSome(far))).toBe("after")
      yield* other.reset()
      yield* TestClock.adjust("59 seconds")
      yield* near.end
      yield* expectWaiting(drain)
      expect(yield* client.isClosed).toBe(false)
      yield* far.end
      yield* Fiber.join(drain)
      yield* settle
      expect(yield* client.awaitClosed).toEqual(closedBy("peer"))
    }))

  it.scoped("Session.drain cuts the streams that run when the grace has passed", () =>
    Effect.gen(function*() {
      const { client, near, server } = yield* makeStreams(quietly())
      const read = yield* start(near.read)
      const drain = yield* start(server.drain())
      yield* TestClock.adjust(29_999)
      yield* expectWaiting(drain, read)
      yield* TestClock.adjust(1)
      yield* Fiber.join(drain)
      expect(yield* server.awaitClosed).toEqual(closedBy("local", graceHasPassed))
      const cause = closedBy("peer", graceHasPassed)
      expect(yield* failureOf(read)).toEqual(
        new BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause })
      )
      expect(yield* client.awaitClosed).toEqual(cause)
    }))

  it.scoped("Session.drain fails opens of both ends with SessionDraining, and those that wait in turn", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeStreams(
        quietly({ client: { acceptBacklog: 4 }, server: { acceptBacklog: 4 } })
      )
      const unanswered = yield* Effect.replicateEffect(start(client.open()), 4)
      const waiting = yield* start(client.open({ label: "x" }))
      const waitingHere = yield* Effect.replicateEffect(start(server.open()), 5)
      expect([(yield* client.snapshot).waitingOpens, (yield* server.snapshot).waitingOpens]).toEqual([1, 1])
      yield* start(server.drain({ grace: "5 seconds", code: 300, reason: "restart", redial: false }))
      const details = { graceMillis: 5000, code: 300, reason: "restart", redial: false }
      expect([
        yield* failureOf(waiting),
        yield* Effect.flip(client.open()),
        yield* failureOf(waitingHere[4]!),
        yield* Effect.flip(server.open({ early: true }))
      ]).toEqual([
        drainingBy("peer", details),
        drainingBy("peer", details),
        drainingBy("local", details),
        drainingBy("local", details)
      ])
      yield* expectWaiting(unanswered[0]!, waitingHere[0]!)
    }))

  it.scoped("Session.drain lets unanswered opens complete, and streams of the backlog be accepted", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      yield* settle
      const [here, there] = [yield* start(server.open()), yield* start(client.open())]
      const drain = yield* start(server.drain())
      const [far, near] = [yield* client.accept, yield* server.accept]
      yield* (yield* Fiber.join(here)).reset()
      yield* (yield* Fiber.join(there)).reset()
      expect([far.id, near.id]).toEqual([0, 1])
      yield* Fiber.join(drain)
      expect(yield* server.awaitClosed).toEqual(closedBy("local"))
    }))

  it.scoped("Session.drain refuses the streams of the backlog when the grace has passed", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      yield* settle
      const opening = yield* start(client.open())
      const early = yield* client.open({ early: true })
      yield* start(server.drain({ grace: "1 second" }))
      yield* TestClock.adjust("1 second")
      expect(yield* failureOf(opening)).toEqual(drainingBy("peer", { graceMillis: 1000 }))
      expect(yield* Effect.flip(early.read)).toMatchObject({
        _tag: "StreamReset",
        by: "peer",
        code: ResetCode.Draining
      })
      expect((yield* server.snapshot).counters.refused).toBe(2)
    }))

  it.scoped("Session.drain refuses an open that crosses its announcement with SessionDraining", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeStreams(quietly())
      yield* pair.stall("client")
      const crossing = yield* start(client.open())
      const early = yield* client.open({ early: true })
      yield* start(server.drain())
      yield* pair.resume("client")
      expect(yield* failureOf(crossing)).toEqual(drainingBy("peer"))
      const reason = "the session drains; the stream was not served, and another session may serve it"
      expect(yield* Effect.flip(early.read)).toEqual(
        new StreamReset({ streamId: 5, operation: "read", by: "peer", code: ResetCode.Draining, reason, written: 0 })
      )
      expect((yield* server.snapshot).counters.refused).toBe(2)
    }))

  it.scoped("Session.drain of an idle session refuses the opens that cross its announcement", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeSessions(quietly())
      yield* settle
      yield* pair.stall("client")
      const crossing = yield* start(client.open())
      const early = yield* client.open({ early: true })
      const drain = yield* start(server.drain())
      yield* expectWaiting(drain)
      yield* pair.resume("client")
      yield* Fiber.join(drain)
      expect(yield* failureOf(crossing)).toEqual(drainingBy("peer"))
      expect(yield* Effect.flip(early.read)).toMatchObject({
        _tag: "StreamReset",
        by: "peer",
        code: ResetCode.Draining
      })
      expect(yield* client.awaitClosed).toEqual(closedBy("peer"))
    }))

  it.scoped("Session.drain of an idle session closes it after 2 s when its peer answers nothing", () =>
    Effect.gen(function*() {
      const { pair, server } = yield* makeSessions(quietly())
      yield* settle
      yield* pair.stall("client")
      const drain = yield* start(server.drain())
      yield* TestClock.adjust(1999)
      yield* expectWaiting(drain)
      yield* TestClock.adjust(1)
      yield* Fiber.join(drain)
    }))

  it.scoped("Session.open fails with SessionDraining when its peer drains without a grace", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeSessions(quietly())
      yield* settle
      yield* pair.stall("client")
      const crossing = yield* start(client.open())
      yield* server.drain({ grace: 0 })
      expect(yield* failureOf(crossing)).toEqual(drainingBy("peer", { graceMillis: 0 }))
    }))

  it.scoped("Session.drain of both ends refuses an open that crossed with SessionDraining", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeStreams(quietly())
      yield* pair.stall("client")
      const crossing = yield* start(client.open())
      yield* start(server.drain())
      yield* start(client.drain())
      yield* pair.resume("client")
      expect(yield* failureOf(crossing)).toEqual(drainingBy("peer"))
    }))

  it.scoped("Session.drain refuses streams by FIN and announces nothing when the peer speaks Go's wire", () =>
    Effect.gen(function*() {
      const { ended, frames, send, session } = yield* makePeer("server", quiet)
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* start(session.drain())
      yield* send(syn(3))
      expect(yield* frames).toEqual([ack(1, 1024), fin(3)])
      yield* send(fin(1))
      yield* stream.end
      expect(yield* frames).toEqual([fin(1)])
      expect(yield* ended).toEqual({ code: 1001, reason: "drained" })
    }))

  it.scoped("Session.drain announces the rest of its grace when the peer's HELLO comes later", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", quiet)
      yield* start(session.open())
      yield* start(session.drain({ grace: "10 seconds" }))
      yield* TestClock.adjust("4 seconds")
      expect(yield* frames).toEqual([syn(0)])
      yield* send(Record.encodeHello({ features: open | reset | goAway }))
      expect(decoded(yield* frames)).toEqual([{ _tag: "GoAway", ...announcement, graceMillis: 6000 }])
    }))

  it.scoped("Session.drain only shortens the grace when called again, and tells the peer", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative("server")
      yield* send(openRecord(1))
      yield* session.accept
      const first = yield* start(session.drain({ grace: "20 seconds" }))
      yield* TestClock.adjust("5 seconds")
      const longer = yield* start(session.drain({ grace: "1 hour", code: 400 }))
      const shorter = yield* start(session.drain({ grace: "5 seconds", code: 400 }))
      expect((yield* frames).slice(1)).toEqual([20_000, 5000].map((graceMillis) => ({
        _tag: "GoAway",
        ...announcement,
        graceMillis
      })))
      yield* TestClock.adjust(4999)
      yield* expectWaiting(first, longer, shorter)
      yield* TestClock.adjust(1)
      yield* Effect.forEach([first, longer, shorter], Fiber.join)
      expect(yield* session.awaitClosed).toEqual(closedBy("local", graceHasPassed))
    }))

  it.scoped("Session.drain goes on when its caller is interrupted", () =>
    Effect.gen(function*() {
      const { server } = yield* makeStreams(quietly())
      yield* Fiber.interrupt(yield* start(server.drain()))
      yield* TestClock.adjust(29_999)
      expect(yield* server.isClosed).toBe(false)
      yield* TestClock.adjust(1)
      expect(yield* server.awaitClosed).toEqual(closedBy("local", graceHasPassed))
    }))

  it.scoped("Session.drain completes when the session ends for another reason", () =>
    Effect.gen(function*() {
      const lost = yield* makeStreams(quietly())
      const closed = yield* makeStreams(quietly())
      const scope = yield* Scope.make()
      const scoped = yield* Scope.extend(makeStreams(quietly()), scope)
      const drains = yield* Effect.forEach([lost, closed, scoped], ({ server }) => start(server.drain()))
      yield* expectWaiting(...drains)
      yield* lost.pair.cut
      yield* closed.server.close
      yield* Scope.close(scope, Exit.void)
      yield* Effect.forEach(drains, Fiber.join)
      const causes = yield* Effect.forEach([lost, closed, scoped], ({ server }) => server.awaitClosed)
      const closedHere = new SessionClosed({ by: "local", code: 1000, reason: "" })
      expect([causes[0]!._tag, causes[1], causes[2]]).toEqual(["TransportFailure", closedHere, closedHere])
    }))

  it.scoped("Session.drain waits for the streams without limit when the grace is infinite", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams(quietly())
      const drain = yield* start(server.drain({ grace: Infinity }))
      yield* TestClock.adjust("60 days")
      yield* expectWaiting(drain)
      expect((yield* client.snapshot).peerDrain?.redial).toBe(true)
      yield* near.reset()
      yield* far.reset()
      yield* Fiber.join(drain)
    }))

  it.scoped("Session.drain by both ends closes the session when the last stream is over", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams(quietly())
      const drains = yield* Effect.forEach([client, server], (session) => start(session.drain()))
      expect((yield* Effect.flip(client.open())).message).toContain("this end drains the session")
      yield* near.reset()
      yield* far.reset()
      yield* Effect.forEach(drains, Fiber.join)
      expect(yield* client.isClosed).toBe(true)
    }))

  it.scoped("Session.drain dies when its code is no uint32", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(quietly())
      const exit = yield* Effect.exit(client.drain({ code: -1 }))
      expect(Exit.isFailure(exit) && exit.cause._tag).toBe("Die")
    }))
})

describe("Session that receives GOAWAY", () => {
  it.scoped("Session.awaitDraining completes with the first announcement of the peer, also later", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeStreams(quietly())
      const waiting = yield* start(client.awaitDraining)
      yield* expectWaiting(waiting)
      yield* start(server.drain({ reason: "\u0007bell" }))
      const expected = drainingBy("peer", { reason: "\u0007bell" })
      expect([yield* Fiber.join(waiting), yield* client.awaitDraining]).toEqual([expected, expected])
      expect(yield* server.awaitDraining).toMatchObject({ by: "local" })
      expect(expected.message).not.toContain("\u0007")
    }))

  it.scoped("Session.awaitDraining fails with the terminal error when the session ends before", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(quietly())
      const waiting = yield* start(client.awaitDraining)
      yield* client.close
      const closed = new SessionClosed({ by: "local", code: 1000, reason: "" })
      expect([yield* failureOf(waiting), yield* Effect.flip(client.awaitDraining)]).toEqual([closed, closed])
    }))

  it.scoped("Session shows both drains in its snapshot", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeStreams(quietly())
      const { localDrain, peerDrain } = yield* client.snapshot
      expect([localDrain, peerDrain]).toEqual([undefined, undefined])
      yield* start(server.drain({ grace: "9 seconds", code: 256, reason: "r", redial: false }))
      yield* TestClock.adjust("2 seconds")
      const drain = { remainingMillis: 7000, redial: false, code: 256, reason: "r" }
      expect(yield* server.snapshot).toMatchObject({ localDrain: drain, peerDrain: undefined })
      expect(yield* client.snapshot).toMatchObject({ localDrain: undefined, peerDrain: drain })
    }))

  it.scoped("Session lets the peer open streams and unanswered opens complete when the peer drains", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative("client")
      const opening = yield* start(session.open())
      yield* send(Record.encodeGoAway(announcement), openRecord(2), ack(1, 10))
      expect([(yield* session.accept).id, (yield* Fiber.join(opening)).id]).toEqual([2, 1])
      expect((yield* frames).map((frame) => frame._tag)).toEqual(["Open", "Ack"])
    }))

  it.scoped("Session ignores announcements of a storm but the first and those that shorten the grace", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNative("client")
      yield* send(Record.encodeGoAway({ ...announcement, graceMillis: 2 ** 32 - 1 }))
      expect((yield* session.snapshot).peerDrain?.remainingMillis).toBe(2 ** 32 - 1)
      for (let left = 0; left < 10; left++) {
        yield* send(...Array.from({ length: 100 }, () => Record.encodeGoAway({ ...announcement, code: 9 })))
      }
      const { counters, peerDrain } = yield* session.snapshot
      expect([counters.ignoredFrames, peerDrain]).toEqual([
        999,
        { remainingMillis: 30_000, redial: true, code: 0, reason: "" }
      ])
      yield* TestClock.adjust("60 days")
      expect(yield* session.isClosed).toBe(false) // the peer closes
      expect(yield* frames).toEqual([])
      expect((yield* session.snapshot).peerDrain?.remainingMillis).toBe(0)
    }))

  it.scoped("Session ignores GOAWAY from a peer that has not announced the feature", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("client", quiet)
      yield* send(Record.encodeGoAway(announcement))
      expect((yield* session.snapshot).peerDrain).toBeUndefined()
      const opening = yield* start(session.open())
      yield* TestClock.adjust("30 seconds")
      expect(yield* failureOf(opening)).toEqual(new AcceptTimeout({ afterMillis: 30_000 }))
    }))
})
