import { describe, expect, it } from "@effect/vitest"
import { ResetCode } from "effect-wsmux/MuxStream"
import type { Session } from "effect-wsmux/Session"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { BrokenPipe, SessionClosed, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { encode } from "../../../src/internal/wire/frame.js"
import { bytes, text } from "../../support/bytes.js"
import { interruptAt } from "../../support/interruptAt.js"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { open, reset, stop } from "../../support/records.js"
import { ack, dat, fin, makeNativePeer, makePeer, syn } from "../../support/scriptedPeer.js"
import { readAll, readSome, settle } from "../../support/sessions.js"
import { makeTracer } from "../../support/spans.js"

const closed = new SessionClosed({ by: "peer", code: 1001, reason: "" })

describe("Session.accept", () => {
  it.scoped("Session.accept returns streams in the order of their SYNs, and sends each window by ACK", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { streamBufferSize: 77 })
      yield* send(syn(5), syn(1))
      expect(yield* frames).toEqual([])
      expect((yield* session.snapshot).backlog).toBe(2)
      const ids = [(yield* session.accept).id, (yield* session.accept).id]
      expect(ids).toEqual([5, 1])
      expect(yield* frames).toEqual([ack(5, 77), ack(1, 77)])
      expect((yield* session.snapshot).counters.accepted).toBe(2)
    }))

  it.scoped("Session.accept serves waiting callers in turn", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      const waiting = yield* Effect.replicateEffect(start(session.accept), 3)
      yield* send(syn(1), syn(3))
      expect([(yield* Fiber.join(waiting[0]!)).id, (yield* Fiber.join(waiting[1]!)).id]).toEqual([1, 3])
      yield* expectWaiting(waiting[2]!)
    }))

  it.scoped("Session.accept takes no stream when the caller was interrupted", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      const [first, second] = [yield* start(session.accept), yield* start(session.accept)]
      yield* Fiber.interrupt(first)
      yield* send(syn(1))
      expect((yield* Fiber.join(second)).id).toBe(1)
      expect(yield* frames).toEqual([ack(1, 1024)])
    }))

  it.scoped("Session.accept passes a stream to the next caller when an interruption meets its arrival", () =>
    Effect.gen(function*() {
      const { next, session, transport } = yield* makePeer("server", quiet)
      const [first, second] = [yield* start(Effect.scoped(session.accept)), yield* start(session.accept)]
      yield* Effect.fork(Fiber.interrupt(first))
      transport.send([encode(syn(1))])
      expect(yield* next).toEqual(ack(1, 1024))
      const taken = (yield* first.await)._tag === "Success"
      if (taken) expect(yield* next).toEqual(fin(1)) // no caller has the stream: its scope has ended it
      else expect((yield* Fiber.join(second)).id).toBe(1)
    }))

  it.scoped("Session.accept skips a stream when its opener gave up while the stream waited", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1), syn(3), fin(1))
      expect(yield* frames).toEqual([fin(1)])
      expect((yield* session.snapshot).streams.map((stream) => stream.id)).toEqual([3])
      expect((yield* session.accept).id).toBe(3)
      yield* expectWaiting(yield* start(session.accept))
    }))

  it.scoped("Session.accept returns a stream that reads the FIN when its opener ends it at once", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(fin(1))
      expect(yield* stream.read).toEqual(Option.none())
    }))

  it.scoped("Session refuses a stream by FIN when 4,096 streams wait to be accepted", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...quiet, maxStreams: 5000 })
      const ids = Array.from({ length: 4096 }, (_, i) => 2 * i + 1)
      yield* send(...ids.map(syn))
      const settled = Effect.map(session.snapshot, ({ backlog }) => backlog === 4096)
      yield* Effect.repeat(settle, { until: () => settled })
      yield* send(syn(9001))
      expect(yield* frames).toEqual([fin(9001)])
      const { backlog, counters, streams } = yield* session.snapshot
      expect([backlog, counters.refused, streams.length]).toEqual([4096, 1, 4096])

      expect((yield* session.accept).id).toBe(1) // an accepted stream leaves the backlog
      yield* send(syn(9003))
      expect(yield* frames).toEqual([ack(1, 1024)])
      expect((yield* session.snapshot).backlog).toBe(4096)
    }).pipe(Effect.provide(SharedLimits.layer({ maxStreams: 20_000 }))))

  it.scoped("Session accepts 400 streams of one turn when one acceptor of run waits", () =>
    Effect.gen(function*() {
      const { frames, session, transport } = yield* makePeer("server")
      yield* Effect.fork(session.run(() => Effect.never))
      yield* settle
      for (let i = 0; i < 400; i++) transport.send([encode(syn(2 * i + 1))])
      yield* Effect.repeatN(settle, 4)
      expect((yield* frames).filter(({ _tag }) => _tag !== "Ack")).toEqual([])
      expect((yield* session.snapshot).counters).toMatchObject({ accepted: 400, refused: 0 })
    }))

  it.scoped("Session gives streams to acceptors that wait when the backlog may hold none", () =>
    Effect.gen(function*() {
      const { frames, session, transport } = yield* makePeer("server", { ...quiet, acceptBacklog: 0 })
      const acceptors = [yield* start(session.accept), yield* start(session.accept)]
      for (const id of [1, 3, 5]) transport.send([encode(syn(id))])
      yield* settle
      expect(yield* frames).toEqual([ack(1, 1024), ack(3, 1024), fin(5)])
      expect((yield* Effect.forEach(acceptors, Fiber.join)).map(({ id }) => id)).toEqual([1, 3])
    }))

  it.scoped("Session.accept leaves the backlog its bound when it is interrupted beside an arrival", () =>
    Effect.gen(function*() {
      const { frames, send, session, transport } = yield* makePeer("server", { ...quiet, acceptBacklog: 2 })
      const acceptors = yield* Effect.replicateEffect(start(session.accept), 3)
      for (const id of [1, 3, 5]) transport.send([encode(syn(id))])
      yield* Effect.zipRight(Fiber.interruptAll(acceptors), settle)
      expect((yield* session.snapshot).backlog).toBe(2)
      yield* send(syn(7))
      expect(yield* frames).toEqual([fin(5), fin(7)])
      expect([(yield* session.accept).id, (yield* session.accept).id]).toEqual([1, 3])
    }))

  it.scoped("Session refuses a stream instead of handing it out when it has waited for 30 s", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", quiet)
      yield* send(syn(1))
      yield* TestClock.adjust("10 seconds")
      yield* send(syn(3))
      yield* TestClock.adjust("20 seconds")
      expect((yield* session.accept).id).toBe(1) // at exactly 30 s the opener may still wait
      yield* send(syn(5))
      yield* TestClock.adjust("10001 millis")
      expect((yield* session.accept).id).toBe(5)
      expect(yield* frames).toEqual([ack(1, 1024), fin(3), ack(5, 1024)])
      const { counters, streams } = yield* session.snapshot
      expect([counters.refused, streams.map(({ id }) => id)]).toEqual([1, [1, 5]])
    }))

  it.scoped("Session refuses expired streams to make room when the backlog is full", () =>
    Effect.gen(function*() {
      const { frames, send } = yield* makePeer("server", { ...quiet, acceptBacklog: 1, backlogTimeout: "1 second" })
      yield* send(syn(1))
      yield* TestClock.adjust("1001 millis")
      yield* send(syn(3), syn(5))
      expect(yield* frames).toEqual([fin(1), fin(5)])
    }))

  it.scoped("Session answers an opener that gives up once when its refusal waits for the socket", () =>
    Effect.gen(function*() {
      const { frames, pair, send } = yield* makePeer("server", { ...quiet, acceptBacklog: 2 }, { capacity: 1 })
      yield* pair.stall("server")
      yield* send(syn(1), syn(3))
      yield* TestClock.adjust("31 seconds")
      yield* send(syn(5), fin(3))
      yield* pair.resume("server")
      yield* settle
      expect(yield* frames).toEqual([fin(1), fin(3)])
    }))

  it.scoped("Session counts a stream until its handler has ended when both ends have sent FIN", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...quiet, maxStreams: 1 })
      const latch = yield* Effect.makeLatch()
      yield* Effect.fork(session.run((stream) => Effect.zipRight(stream.end, latch.await)))
      yield* send(syn(1), fin(1), syn(3))
      expect(yield* frames).toEqual([ack(1, 1024), fin(1), fin(3)])
      yield* send(syn(5))
      expect(yield* frames).toEqual([fin(5)])
      yield* Effect.zipRight(latch.open, settle)
      yield* send(syn(7))
      expect(yield* frames).toEqual([ack(7, 1024), fin(7)])
    }))

  it.scoped("Session counts a stream until its handler has ended when the peer has reset both halves", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makeNativePeer("server", { ...quiet, maxStreams: 1 })
      const latch = yield* Effect.makeLatch()
      yield* Effect.fork(session.run(() => latch.await))
      yield* send(open(1))
      yield* send(reset(1, 300), stop(1, 300))
      expect(yield* frames).toEqual([ack(1, 0), reset(1, 300)])
      expect((yield* session.snapshot).streams).toEqual([])
      yield* send(open(3))
      expect(yield* frames).toEqual([reset(3, ResetCode.Refused, "the session has maxStreams streams")])
      yield* Effect.zipRight(latch.open, settle)
      yield* send(open(5))
      expect(yield* frames).toEqual([ack(5, 0), fin(5), stop(5, 0)])
    }))

  it.scoped("Session.accept refuses streams by FIN when acceptBacklog of them wait", () =>
    Effect.gen(function*() {
      const { frames, send } = yield* makePeer("server", { acceptBacklog: 1 })
      yield* send(syn(1), syn(3))
      expect(yield* frames).toEqual([fin(3)])
    }))

  it.scoped("Session.accept refuses streams beyond maxStreams until another stream is over", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { ...quiet, maxStreams: 2 })
      yield* send(syn(1), syn(3))
      yield* Effect.scoped(Effect.zipRight(session.accept, session.accept))
      yield* send(syn(5))
      expect(yield* frames).toEqual([ack(1, 1024), ack(3, 1024), fin(3), fin(1), fin(5)])
      yield* send(fin(3), syn(7))
      yield* Effect.scoped(session.accept)
      expect(yield* frames).toEqual([ack(7, 1024), fin(7)])
    }))

  it.scoped("Session.accept fails waiting and later calls with the cause when the session ends", () =>
    Effect.gen(function*() {
      const { pair, send, session } = yield* makePeer("server")
      const waiting = yield* Effect.replicateEffect(start(session.accept), 2)
      yield* pair.close(1001, "")
      for (const fiber of waiting) expect(yield* failureOf(fiber)).toEqual(closed)
      expect(yield* Effect.flip(session.accept)).toEqual(closed)
      yield* send(syn(1))
      expect(yield* Effect.flip(session.accept)).toEqual(closed)
    }))

  it.scoped("Session.accept returns no waiting stream when the session has ended", () =>
    Effect.gen(function*() {
      const { pair, send, session } = yield* makePeer("server")
      yield* send(syn(1))
      yield* pair.close(1001, "")
      expect(yield* Effect.flip(session.accept)).toEqual(closed)
    }))
})

describe("Session.accepted", () => {
  it.scoped("Session.accepted emits each stream, and fails with the cause when the session ends", () =>
    Effect.gen(function*() {
      const { pair, send, session } = yield* makePeer("server")
      const seen: Array<number> = []
      const consumer = yield* start(Stream.runForEach(session.accepted, ({ id }) => Effect.sync(() => seen.push(id))))
      yield* send(syn(1), syn(3), syn(5))
      expect(seen).toEqual([1, 3, 5])
      yield* pair.close(1001, "")
      expect(yield* failureOf(consumer)).toEqual(closed)
    }))

  it.scoped("Session.accepted ends its streams when the scope of its run closes", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* send(syn(1), syn(3), syn(5))
      const ids = session.accepted.pipe(Stream.take(2), Stream.map((stream) => stream.id), Stream.runCollect)
      expect(Chunk.toReadonlyArray(yield* Effect.scoped(ids))).toEqual([1, 3])
      const out = yield* frames
      expect(out.slice(0, 2)).toEqual([ack(1, 1024), ack(3, 1024)])
      expect(out.slice(2)).toEqual(expect.arrayContaining([fin(1), fin(3)]))
      expect((yield* session.accept).id).toBe(5)
    }))
})

/** Without a tracer `run` takes its streams by callbacks, with a tracer in a fiber and in spans. */
const runs: Record<string, (session: Session) => Session["run"]> = {
  "Session.run": (session) => session.run,
  "Session.run with a tracer": (session) => (handler) =>
    Effect.flatMap(makeTracer, ({ tracer }) => Effect.withTracer(session.run(handler), tracer))
}

describe.each(Object.keys(runs))("%s", (name) => {
  const runOf = runs[name]!

  it.scoped(`${name} runs the handlers of all streams at the same time`, () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      yield* start(runOf(session)((stream) => Stream.run(stream.readable, stream.writable)))
      yield* send(syn(1), syn(3), ack(1, 9), dat(1, bytes("one")), dat(3, bytes("three")), fin(3))
      expect(yield* frames).toEqual([
        ack(1, 1024),
        ack(3, 1024),
        dat(1, bytes("one")),
        dat(3, bytes("three")),
        fin(3)
      ])
    }))

  it.scoped(`${name} closes the scope of a stream when its handler completes`, () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      const events: Array<string> = []
      const log = (event: string) => Effect.sync(() => void events.push(event))
      yield* start(
        runOf(session)((stream) =>
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => log(`closed ${stream.id}`))
            yield* stream.read
            yield* log(`done ${stream.id}`)
          })
        )
      )
      yield* send(syn(1), syn(3), dat(3, bytes("x")))
      expect(events).toEqual(["done 3", "closed 3"])
      expect(yield* frames).toEqual([ack(1, 1024), ack(3, 1024), fin(3)])
      yield* send(dat(1, bytes("x")))
      expect(events).toEqual(["done 3", "closed 3", "done 1", "closed 1"])
    }))

  const failures: Record<string, Effect.Effect<never, string>> = {
    "a failing handler": Effect.fail("no"),
    "a handler with a defect": Effect.dieMessage("oops"),
    "a handler that interrupts itself": Effect.interrupt
  }
  for (const [failing, failure] of Object.entries(failures)) {
    it.scoped(`${name} ends the stream of ${failing}, and keeps the session`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer("server")
        const run = yield* start(
          runOf(session)((stream) =>
            Effect.zipRight(stream.id === 1 ? failure : Effect.void, stream.write(bytes("fine")))
          )
        )
        yield* send(syn(1), syn(3))
        expect(yield* frames).toEqual([ack(1, 1024), fin(1), ack(3, 1024), dat(3, bytes("fine")), fin(3)])
        yield* expectWaiting(run)
        expect(yield* session.isClosed).toBe(false)
      }))
  }

  it.scoped(`${name} ends its handlers and their streams, and keeps the session when interrupted`, () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server")
      const interrupted: Array<number> = []
      const handler = ({ id }: { readonly id: number }) =>
        Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(id)))
      const run = yield* start(runOf(session)(handler))
      yield* send(syn(1), syn(3))
      yield* Fiber.interrupt(run)
      expect(interrupted.sort()).toEqual([1, 3])
      expect(yield* frames).toEqual(expect.arrayContaining([fin(1), fin(3)]))
      yield* send(syn(5))
      expect((yield* session.accept).id).toBe(5)
    }))

  it.scoped(`${name} lets handlers read arrived bytes, then fails when the session ends`, () =>
    Effect.gen(function*() {
      const { pair, send, session } = yield* makePeer("server")
      const read: Array<string> = []
      const gate = yield* Effect.makeLatch()
      const run = yield* start(
        runOf(session)((stream) =>
          Effect.gen(function*() {
            yield* gate.await
            read.push(text(yield* readSome(stream)))
            const end = yield* Effect.either(stream.read)
            read.push(end._tag === "Left" ? end.left.message : "a false end")
          })
        )
      )
      yield* send(syn(1), dat(1, bytes("arrived")))
      yield* pair.cut
      yield* expectWaiting(run)
      yield* gate.open
      const lost = new TransportFailure({ code: 1006, reason: "" })
      expect(yield* failureOf(run)).toEqual(lost)
      expect(read).toEqual([
        "arrived",
        new BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause: lost }).message
      ])
    }))

  it.scoped(`${name} can be interrupted while handlers still run after the end of the session`, () =>
    Effect.gen(function*() {
      const { pair, send, session } = yield* makePeer("server")
      const run = yield* start(runOf(session)(() => Effect.never))
      yield* send(syn(1))
      yield* pair.cut
      yield* expectWaiting(run)
      expect((yield* Fiber.interrupt(run))._tag).toBe("Failure")
    }))

  it.scoped(`${name} delivers all bytes up to the FIN when they come before the handler reads`, () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      const gate = yield* Effect.makeLatch()
      const read: Array<string> = []
      yield* start(
        runOf(session)((stream) => gate.whenOpen(Effect.map(readAll(stream), (all) => read.push(text(all)))))
      )
      yield* send(syn(1), dat(1, bytes("all ")), dat(1, bytes("of it")), fin(1))
      yield* gate.open
      yield* settle
      expect(read).toEqual(["all of it"])
    }))

  it.scoped(`${name} loses no stream when it or a handler is interrupted at any step`, () =>
    Effect.gen(function*() {
      for (let step = 0, isInterrupted = true; isInterrupted; step++) {
        const { frames, send, session } = yield* makePeer("server", quiet)
        const { hasInterrupted, scheduler } = interruptAt(step)
        const run = Effect.runFork(runOf(session)((stream) => stream.read), { scheduler })
        yield* send(syn(1))
        isInterrupted = hasInterrupted()
        yield* Fiber.interrupt(run)
        const isAccepted = (yield* session.snapshot).counters.accepted === 1
        if (!isAccepted) yield* Effect.scoped(session.accept)
        expect([step, yield* frames]).toEqual([step, [ack(1, 1024), fin(1)]])
      }
    }))

  it.scoped(`${name} gives the handler the context and the references of its caller`, () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      const Name = Context.GenericTag<string>("Name")
      const level = FiberRef.unsafeMake("default")
      const seen: Array<unknown> = []
      const handler = () =>
        Effect.map(
          Effect.all([Name, FiberRef.get(level), Effect.logAnnotations]),
          ([name, level, annotations]) => seen.push([name, level, Object.fromEntries(annotations)])
        )
      const run = runOf(session)(handler).pipe(
        Effect.provideService(Name, "name"),
        Effect.annotateLogs("role", "server"),
        Effect.locally(level, "given")
      )
      yield* start(run)
      yield* send(syn(1), syn(3))
      expect(seen).toEqual([
        ["name", "given", { role: "server", streamId: 1 }],
        ["name", "given", { role: "server", streamId: 3 }]
      ])
    }))

  it.scoped(`${name} leaves a stream to a fiber that accepts when that fiber has waited longer`, () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server")
      const seen: Array<number> = []
      const first = yield* start(session.accept)
      yield* start(runOf(session)(({ id }) => Effect.sync(() => seen.push(id))))
      const second = yield* start(session.accept)
      for (const id of [1, 3, 5]) yield* send(syn(id))
      expect([(yield* Fiber.join(first)).id, seen, (yield* Fiber.join(second)).id]).toEqual([1, [3], 5])
    }))
})
