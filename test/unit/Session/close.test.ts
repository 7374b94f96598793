import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import { MalformedFrame, SessionClosed, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, quietly, start } from "../../support/observe.js"
import { decodeMessage, type Message, open } from "../../support/records.js"
import { fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { auto, makeSessions, makeStreams, readAll, settle } from "../../support/sessions.js"
import { withParts } from "../../support/withParts.js"

const closedHere = new SessionClosed({ by: "local", code: 1000, reason: "" })
const closedThere = new SessionClosed({ by: "peer", code: 1000, reason: "" })
const lost = new TransportFailure({ code: 1006, reason: "" })

/**
 * A client and a server over a link that holds one frame. The list `events` has each step of the client's transport.
 */
const makeRecorded = (options?: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair({ capacity: 1 })
    const clock = yield* Effect.clock
    const events: Array<string> = []
    const transport = withParts(pair.client, {
      send: (parts) => {
        events.push(`send ${decodeMessage(concat(parts))._tag}`)
        pair.client.send(parts)
      },
      close: (code, reason, timeout) =>
        Effect.suspend(() => {
          events.push(`close frame ${code} at ${clock.unsafeCurrentTimeMillis()}`)
          return pair.client.close(code, reason, timeout)
        }).pipe(Effect.ensuring(Effect.sync(() => events.push(`terminated at ${clock.unsafeCurrentTimeMillis()}`))))
    })
    const client = yield* Effect.provideService(
      Session.makeClient({ ...quiet, ...auto, ...options }),
      Transport,
      transport
    )
    const server = yield* Effect.provideService(Session.makeServer({ ...quiet, ...auto }), Transport, pair.server)
    yield* Effect.addFinalizer(() => pair.cut)
    yield* settle // the peers exchange their HELLOs
    events.length = 0
    const note = (event: string) => Effect.sync(() => void events.push(event))
    return { client, server, pair, events, note }
  })

describe("Session.close", () => {
  it.scoped("Session.close sends one FIN when the socket has room again but has not called back yet", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair({ ping: false })
      let isFull = false
      const sent: Array<Message> = []
      const transport = withParts(pair.client, {
        pollWritable: () => !isFull && pair.client.pollWritable(),
        send: (parts) => {
          sent.push(decodeMessage(concat(parts)))
          pair.client.send(parts)
        }
      })
      const client = yield* Effect.provideService(Session.makeClient({ ...quiet, ...auto }), Transport, transport)
      const server = yield* Effect.provideService(Session.makeServer({ ...quiet, ...auto }), Transport, pair.server)
      yield* settle
      const [near] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      isFull = true
      const end = yield* start(Effect.flip(near.end))
      yield* expectWaiting(end)
      isFull = false
      yield* client.close
      expect(sent.slice(1)).toEqual([open(near.id), fin(near.id)]) // behind the HELLO
      expect(yield* Fiber.join(end)).toMatchObject({ _tag: "BrokenPipe", cause: closedHere })
    }))

  it.scoped("Session.close fails operations, sends queued frames, closes, then runs closeCallback", () =>
    Effect.gen(function*() {
      const { client, events, note, pair, server } = yield* makeRecorded()
      const [near] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      yield* client.setCloseCallback((cause) => note(`callback: ${cause._tag}`))
      const watch = <A, E extends { readonly _tag: string }, R>(name: string, operation: Effect.Effect<A, E, R>) =>
        start(Effect.flatMap(Effect.flip(operation), (error) => note(`${name}: ${error._tag}`)))
      yield* watch("accept", client.accept)
      yield* watch("read", near.read)
      yield* watch("write", near.write(pattern(2000)))
      yield* pair.stall("client")
      yield* watch("open", client.open())
      yield* start(Effect.scoped(client.open()))
      events.length = 0

      const close = yield* start(Effect.zipRight(client.close, note("close completes")))
      expect(events).toEqual([
        "accept: SessionClosed",
        "open: SessionClosed",
        "read: BrokenPipe",
        "write: BrokenPipe"
      ])
      yield* pair.resume("client")
      yield* Fiber.join(close)
      expect(events.slice(4)).toEqual([
        "send Open", // the OPEN of the second stream had waited for the socket
        "close frame 1000 at 0",
        "terminated at 0",
        "callback: SessionClosed",
        "close completes"
      ])
    }))

  it.scoped("Session.close completes each call when the session has ended", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeSessions(quietly())
      yield* Effect.addFinalizer(() => pair.cut)
      yield* pair.stall("server")
      const closes = [yield* start(client.close), yield* start(client.close)]
      yield* expectWaiting(...closes)
      yield* pair.resume("server")
      for (const close of closes) expect(yield* close.await).toEqual(Exit.void)
      yield* client.close
      expect([yield* client.awaitClosed, yield* server.awaitClosed]).toEqual([closedHere, closedThere])
    }))

  it.scoped("Session.close ends both sessions when both sides call it at the same time", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeStreams()
      yield* Effect.all([client.close, server.close], { concurrency: 2 })
      expect([yield* client.awaitClosed, yield* server.awaitClosed]).toEqual([closedHere, closedHere])
      expect([yield* client.isClosed, yield* server.isClosed]).toEqual([true, true])
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
    }))

  it.scoped("Session.close has completed when the session's scope has closed", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
      const scope = yield* Scope.make()
      const client = yield* Effect.provideService(Session.makeClient(), Transport, pair.client).pipe(
        Scope.extend(scope)
      )
      const events: Array<string> = []
      yield* client.setCloseCallback(() => Effect.sync(() => void events.push("callback")))
      expect(yield* client.isClosed).toBe(false)
      yield* Scope.close(scope, Exit.void)
      expect(events).toEqual(["callback"])
      expect([yield* client.awaitClosed, yield* server.awaitClosed]).toEqual([closedHere, closedThere])
    }))

  it.scoped("Session.close goes on when its caller is interrupted", () =>
    Effect.gen(function*() {
      const { client, events, pair } = yield* makeRecorded()
      yield* pair.stall("server")
      const close = yield* start(client.close)
      yield* Fiber.interrupt(close)
      const closed = yield* start(client.awaitClosed)
      yield* expectWaiting(closed)
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(closed)).toEqual(closedHere)
      expect(events).toEqual(["close frame 1000 at 0", "terminated at 1000"])
    }))

  it.scoped("Session.close delivers all bytes of a stream that was ended before the call", () =>
    Effect.gen(function*() {
      const { client, far, near } = yield* makeStreams(quietly({ link: { capacity: 1 } }))
      yield* near.write(pattern(1000))
      yield* near.end
      yield* client.close
      expect(yield* readAll(far)).toEqual(pattern(1000))
    }))
})

describe("Session.close", () => {
  const bounds = [
    { name: "default 1 s each", options: {}, flush: 1000, close: 1000 },
    { name: "as configured", options: { flushTimeout: 300, closeTimeout: "2 seconds" }, flush: 300, close: 2000 }
  ] as const
  for (const { close, flush, name, options } of bounds) {
    it.scoped(`Session.close waits for flushTimeout, then closeTimeout when a link is stuck: ${name}`, () =>
      Effect.gen(function*() {
        const { client, events, pair } = yield* makeRecorded(options)
        yield* pair.stall("client")
        yield* Effect.replicateEffect(start(client.open()), 2) // the second OPEN waits for room in the socket
        const closing = yield* start(client.close)
        yield* TestClock.adjust(flush - 1)
        expect(events).toEqual(["send Open"])
        yield* TestClock.adjust(1)
        yield* settle
        expect(events).toEqual(["send Open", `close frame 1000 at ${flush}`])
        yield* TestClock.adjust(close - 1)
        yield* expectWaiting(closing)
        yield* TestClock.adjust(1)
        yield* Fiber.join(closing)
        expect(events.slice(2)).toEqual([`terminated at ${flush + close}`])
      }))
  }

  it.scoped("Session.close sends queued frames within flushTimeout, and then completes at once", () =>
    Effect.gen(function*() {
      const { ended, frames, pair, session } = yield* makePeer("client", quiet, { capacity: 1 })
      yield* pair.stall("client")
      yield* Effect.replicateEffect(start(session.open()), 3)
      const closing = yield* start(session.close)
      yield* TestClock.adjust(999)
      yield* expectWaiting(closing)
      yield* pair.resume("client")
      yield* Fiber.join(closing)
      expect(yield* frames).toEqual([syn(1), syn(3), syn(5)])
      expect(yield* ended).toEqual({ code: 1000, reason: "" })
    }))

  it.scoped("Session.close sends a FIN that waited for the socket", () =>
    Effect.gen(function*() {
      const { client, far, near, pair } = yield* makeStreams(quietly({ link: { capacity: 1 } }))
      yield* near.write(bytes("all"))
      yield* settle
      yield* pair.stall("client")
      yield* start(client.open()) // the SYN fills the link
      yield* start(near.end)
      const closing = yield* start(client.close)
      yield* pair.resume("client")
      yield* Fiber.join(closing)
      expect(text(yield* readAll(far))).toBe("all")
    }))

  it.scoped("Session ends the transport at once when the connection is lost", () =>
    Effect.gen(function*() {
      const { client, events, pair } = yield* makeRecorded()
      yield* pair.stall("client")
      yield* Effect.replicateEffect(start(client.open()), 2)
      yield* pair.cut
      expect(yield* client.awaitClosed).toEqual(lost)
      expect(events.filter((event) => event.startsWith("terminated"))).toEqual(["terminated at 0"])
    }))
})

describe("Session", () => {
  it.scoped("Session keeps the first error as its cause when further errors follow", () =>
    Effect.gen(function*() {
      const { ended, pair, send, session } = yield* makePeer("server", quiet)
      yield* send(Uint8Array.of(9, 0, 0, 0, 0), Uint8Array.of(8, 0, 0, 0, 0), syn(0))
      yield* session.close
      yield* pair.cut
      const first = new MalformedFrame({ fault: "UnknownType", detail: "frame type 9" })
      expect([yield* session.awaitClosed, yield* Effect.flip(session.accept), yield* Effect.flip(session.open())])
        .toEqual([first, first, first])
      expect(yield* ended).toMatchObject({ code: 1008 })
    }))

  it.scoped("Session.isClosed is true at the call of close, and awaitClosed completes at the end", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions(quietly())
      yield* Effect.addFinalizer(() => pair.cut)
      const closed = yield* start(client.awaitClosed)
      yield* expectWaiting(closed)
      yield* pair.stall("server")
      yield* start(client.close)
      expect(yield* client.isClosed).toBe(true)
      expect((yield* client.snapshot).closed).toBe(true)
      yield* expectWaiting(closed)
      yield* pair.resume("server")
      expect(yield* Fiber.join(closed)).toEqual(closedHere)
    }))

  it.scoped("Session ends with TransportFailure when the scope of its transport closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const pair = yield* Scope.extend(MemoryTransport.makePair(), scope)
      const client = yield* Effect.provideService(Session.makeClient({ ...quiet, ...auto }), Transport, pair.client)
      yield* Scope.close(scope, Exit.void)
      expect(yield* client.awaitClosed).toEqual(lost)
    }))
})

describe("Session", () => {
  it.scoped("Session closes with code 1000 when the caller closes it", () =>
    Effect.gen(function*() {
      const { ended, frames, session } = yield* makePeer("client")
      yield* session.close
      expect([yield* ended, yield* frames]).toEqual([{ code: 1000, reason: "" }, []])
    }))

  it.scoped("Session closes with code 1000 after the FINs of its streams when their scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { ended, frames, send, session } = yield* Scope.extend(makePeer("server"), scope)
      yield* send(syn(1))
      yield* Scope.extend(session.accept, scope)
      yield* Scope.close(scope, Exit.void)
      expect((yield* frames).slice(1)).toEqual([fin(1)])
      expect(yield* ended).toEqual({ code: 1000, reason: "" })
    }))

  it.scoped("Session reports the peer's close code and reason when the peer closes", () =>
    Effect.gen(function*() {
      const { session, transport } = yield* makePeer("client")
      yield* transport.close(1001, "going away", "1 second")
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1001, reason: "going away" }))
    }))

  it.scoped("Session closes with 1008 and the peer's fault when several callers wait", () =>
    Effect.gen(function*() {
      const { ended, send, session } = yield* makePeer("client")
      const waiters = yield* Effect.replicateEffect(start(session.accept), 3)
      yield* send(syn(1))
      for (const waiter of waiters) expect((yield* failureOf(waiter))._tag).toBe("WrongParity")
      expect(yield* ended).toEqual({ code: 1008, reason: "stream id 1 belongs to the client: are both ends clients?" })
    }))

  it.scoped("Session stays open when a second session is made on the same transport", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions()
      const second = yield* Effect.exit(
        Effect.scoped(Effect.provideService(Session.makeClient(), Transport, pair.client))
      )
      expect(Exit.isFailure(second) && Cause.isDie(second.cause)).toBe(true)
      expect(yield* client.isClosed).toBe(false)
    }))
})
