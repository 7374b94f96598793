import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import type { Session } from "effect-wsmux/Session"
import { BrokenPipe, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, pattern, text } from "../../support/bytes.js"
import { countingFibers, failureOf, plainly, quietly, start } from "../../support/observe.js"
import { makeSessions, makeStreams, readAll, readSome, settle } from "../../support/sessions.js"

const lost = new TransportFailure({ code: 1006, reason: "" })

const settled = Effect.repeatN(settle, 10)

/** Counts the streams that a session still holds. */
const remains = (session: Session) =>
  Effect.map(session.snapshot, ({ backlog, streams, unacknowledgedOpens, waitingOpens }) => ({
    backlog,
    streams: streams.length,
    unacknowledgedOpens,
    waitingOpens
  }))

const nothing = { backlog: 0, streams: 0, unacknowledgedOpens: 0, waitingOpens: 0 }

describe("Session", () => {
  it.scoped("Session fails all operations and holds no stream when both sides close at the same time", () =>
    Effect.gen(function*() {
      const { client, far, near, server } = yield* makeStreams()
      const [silent, silentFar] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      const operations = [
        yield* start(silent.read),
        yield* start(silentFar.read),
        yield* start(near.write(pattern(5000))),
        yield* start(far.write(pattern(5000))),
        yield* start(client.accept),
        yield* start(server.accept)
      ]
      yield* Effect.all([client.close, server.close], { concurrency: 2 })
      for (const operation of operations) expect((yield* operation.await)._tag).toBe("Failure")
      expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
    }))
})

describe("Session", () => {
  it.scoped("Session delivers arrived bytes, then fails all operations with the loss when a link is cut", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeSessions(quietly())
      const ends = yield* Effect.replicateEffect(
        Effect.all([client.open(), server.accept], { concurrency: 2 }),
        20
      )
      const writes = yield* Effect.forEach(ends, ([near]) => Effect.fork(near.write(pattern(3000, near.id + 1))))
      const queued = yield* Effect.forEach(ends, ([near]) => Effect.fork(near.write(bytes("behind it"))))
      const reads = yield* Effect.forEach(ends, ([near]) => Effect.fork(near.read))
      const endings = yield* Effect.forEach(ends, ([near]) => Effect.fork(near.end))
      const sessions = [yield* start(client.accept), yield* start(server.accept)]
      yield* pair.cut
      yield* Effect.all([client.close, server.close])

      for (const [i, [near, far]] of ends.entries()) {
        const broken = (operation: "read" | "write", written: number) =>
          new BrokenPipe({ streamId: near.id, operation, reason: "SessionEnded", written, cause: lost })
        expect([
          yield* failureOf(writes[i]!),
          yield* failureOf(queued[i]!),
          yield* failureOf(reads[i]!),
          yield* failureOf(endings[i]!)
        ]).toEqual([broken("write", 1024), broken("write", 0), broken("read", 0), broken("write", 0)])
        expect(yield* readSome(far)).toEqual(pattern(3000, near.id + 1).subarray(0, 1024))
        expect(yield* Effect.flip(far.read)).toEqual(broken("read", 0))
      }
      expect([yield* failureOf(sessions[0]!), yield* failureOf(sessions[1]!)]).toEqual([lost, lost])
      expect([yield* client.awaitClosed, yield* server.awaitClosed]).toEqual([lost, lost])
      expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
    }))

  it.scoped("MuxStream.read fails with BrokenPipe when a cut loses a FIN under way", () =>
    Effect.gen(function*() {
      const { far, near, pair } = yield* makeStreams(quietly())
      yield* pair.stall("client")
      yield* near.write(bytes("never arrives"))
      yield* near.end
      yield* pair.cut
      expect(yield* Effect.flip(readAll(far))).toEqual(
        new BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause: lost })
      )
    }))
})

describe("Session", () => {
  it.scoped("Session lets a writer finish when the reader leaves its stream", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      yield* Effect.fork(server.run((far) => Effect.zipRight(far.read, far.write(bytes("enough")))))
      const near = yield* client.open()
      const write = yield* start(near.write(pattern(200_000)))
      yield* Fiber.join(write)
      yield* near.end
      expect(text(yield* readAll(near))).toBe("enough")
      yield* settled
      expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
    }))

  it.scoped("Session fails a writer behind the reader's last bytes when its native reader leaves", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      yield* Effect.fork(server.run((far) => Effect.zipRight(far.read, far.write(bytes("enough")))))
      const near = yield* client.open()
      const write = yield* start(near.write(pattern(200_000)))
      expect(yield* failureOf(write)).toMatchObject({ _tag: "StreamReset", by: "peer", code: 0 })
      expect(text(yield* readAll(near))).toBe("enough")
      yield* settled
      expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
    }))
})

describe("Session", () => {
  const open = (client: Session, deadline: number) => (use: (near: MuxStream) => Effect.Effect<unknown, unknown>) =>
    Effect.scoped(Effect.gen(function*() {
      const near = yield* client.open()
      yield* near.setDeadline(deadline)
      yield* use(near)
    }))

  const uses = {
    "that echo all bytes": (near: MuxStream) =>
      Effect.gen(function*() {
        yield* near.write(bytes(`stream ${near.id}`))
        yield* near.end
        expect(text(yield* readAll(near))).toBe(`stream ${near.id}`)
      }),
    "that are left in the middle": (near: MuxStream) => near.write(pattern(500)),
    "that are left while they read and write": (near: MuxStream) =>
      Effect.zipRight(Effect.forkDaemon(near.read), Effect.forkDaemon(near.write(pattern(2000))))
  }
  for (const [name, use] of Object.entries(uses)) {
    it.scoped(`Session holds no entry, fiber or timer after 1000 streams ${name}`, () =>
      countingFibers((fibers) =>
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions(quietly())
          yield* Effect.fork(server.run((far) => Stream.run(far.readable, far.writable)))
          const before = yield* fibers
          yield* Effect.repeatN(open(client, 3_600_000)(use), 999)
          yield* settled
          expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
          const counts = [(yield* client.snapshot).counters.opened, (yield* server.snapshot).counters.accepted]
          expect(counts).toEqual([1000, 1000])
          expect(yield* fibers).toBe(before)
        })
      ))
  }

  it.scoped("Session holds no entry or fiber after 1000 concurrent streams", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        yield* Effect.fork(server.run((far) => Stream.run(far.readable, far.writable)))
        const before = yield* fibers
        const one = open(client, 3_600_000)(uses["that echo all bytes"])
        yield* Effect.forEach(Array.from({ length: 1000 }), () => one, { concurrency: "unbounded", discard: true })
        yield* settled
        expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
        expect(yield* fibers).toBe(before)
      })
    ))

  it.scoped("Session holds no entry or fiber after 1000 unaccepted opens that fail", () =>
    countingFibers((fibers) =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly({ server: { acceptBacklog: 50 } }))
        const before = yield* fibers
        const opens = yield* Effect.replicateEffect(Effect.fork(Effect.scoped(client.open())), 1000)
        yield* settled
        yield* Fiber.interruptAll(opens.slice(0, 500))
        yield* TestClock.adjust("30 seconds")
        for (const fiber of opens) expect((yield* fiber.await)._tag).toBe("Failure")
        const rest = yield* start(Effect.forever(Effect.scoped(server.accept)))
        yield* settled
        expect([yield* remains(client), yield* remains(server)]).toEqual([nothing, nothing])
        yield* Fiber.interrupt(rest)
        expect(yield* fibers).toBe(before)
      })
    ))
})

describe("Session", () => {
  const endings = {
    "after a clean end": () => Effect.void,
    "after a loss": ({ pair }: { readonly pair: { readonly cut: Effect.Effect<void> } }) => pair.cut
  }
  for (const [name, end] of Object.entries(endings)) {
    it.effect(`Session holds no fiber ${name} when its scope has closed`, () =>
      countingFibers((fibers) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            const streams = yield* makeStreams({ client: { log: true }, server: { log: true } })
            yield* streams.near.setDeadline(3_600_000)
            yield* Effect.forkScoped(streams.server.run((far) => Stream.run(far.readable, far.writable)))
            yield* Effect.forkScoped(Effect.scoped(streams.client.open()))
            yield* Effect.forkScoped(streams.near.write(pattern(3000)))
            yield* settle
            expect(yield* fibers).toBeGreaterThan(5)
            yield* end(streams)
          }))
          expect(yield* fibers).toBe(0)
        })
      ))
  }
})
