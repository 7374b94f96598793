import { describe, expect, it } from "@effect/vitest"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { BrokenPipe, NotConnected } from "effect-wsmux/WsmuxError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, start } from "../../support/observe.js"
import { cut, everySecond, makeServer, unreachable } from "../../support/redialledServer.js"
import { readAll, readSome, settle } from "../../support/sessions.js"

describe("ReconnectingSession", () => {
  it.scoped("ReconnectingSession.open opens on the next session, and streams of a lost session fail", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const session = yield* ReconnectingSession.make({ transport: server.dial, schedule: everySecond })
      const first = yield* server.link
      const [lost] = yield* Effect.all([session.open(), first.server.accept], { concurrency: 2 })
      yield* cut(first)
      const failure = yield* failureOf(yield* start(lost.read))
      expect(failure).toBeInstanceOf(BrokenPipe)

      const open = yield* start(session.open())
      yield* TestClock.adjust(999)
      yield* expectWaiting(open)
      yield* TestClock.adjust(1)
      const second = yield* server.link
      const far = yield* second.server.accept
      const near = yield* Fiber.join(open)
      yield* near.write(bytes("again"))
      expect(text(yield* readSome(far))).toBe("again")
    }))

  it.scoped("ReconnectingSession.open opens on the next session when one ends before the peer accepts", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const session = yield* ReconnectingSession.make({ transport: server.dial, schedule: everySecond })
      const first = yield* server.link
      const open = yield* start(session.open()) // the first server does not accept it
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      yield* second.server.accept
      expect((yield* Fiber.join(open)).id).toBe(1)
    }))

  it.scoped("ReconnectingSession.open fails with the last cause when its waits reach openTimeout", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      yield* server.setDown(true)
      const session = yield* ReconnectingSession.make({
        transport: server.dial,
        schedule: everySecond,
        openTimeout: "5 seconds"
      })
      const open = yield* start(session.open())
      const longer = yield* start(session.current)
      yield* TestClock.adjust(4999)
      yield* expectWaiting(open, longer)
      yield* TestClock.adjust(1)
      expect(yield* failureOf(open)).toEqual(new NotConnected({ reason: "Timeout", cause: unreachable }))
      yield* server.setDown(false)
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(longer)).role).toBe("client")
    }))

  it.scoped("ReconnectingSession.open waits 30 s by default when there is no session", () =>
    Effect.gen(function*() {
      const session = yield* ReconnectingSession.make({ transport: Effect.never })
      const open = yield* start(session.open())
      yield* TestClock.adjust(29_999)
      yield* expectWaiting(open)
      yield* TestClock.adjust(1)
      const failure = yield* failureOf(open)
      expect(failure).toEqual(new NotConnected({ reason: "Timeout", cause: undefined }))
    }))

  it.scoped("ReconnectingSession.accepted emits each stream once over several sessions", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const session = yield* ReconnectingSession.make({ transport: server.dial, schedule: everySecond })
      const accepted = yield* start(
        session.accepted.pipe(
          Stream.mapEffect((stream) => readAll(stream)),
          Stream.take(2),
          Stream.runCollect,
          Effect.scoped
        )
      )
      const first = yield* server.link
      yield* Stream.run(Stream.make(bytes("one")), (yield* first.server.open()).writable)
      yield* settle
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      yield* Stream.run(Stream.make(bytes("two")), (yield* second.server.open()).writable)
      expect(Chunk.toReadonlyArray(yield* Fiber.join(accepted)).map(text)).toEqual(["one", "two"])
    }))

  it.scoped("ReconnectingSession.run handles streams of the next session while an old handler is busy", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const session = yield* ReconnectingSession.make({ transport: server.dial, schedule: everySecond })
      const busy = yield* Effect.makeLatch(false)
      const seen: Array<string> = []
      const running = yield* start(session.run((stream) =>
        Effect.gen(function*() {
          const word = text(yield* readSome(stream))
          seen.push(word)
          if (word === "one") yield* busy.await
          yield* stream.end
        })
      ))
      const first = yield* server.link
      yield* (yield* first.server.open()).write(bytes("one"))
      yield* settle
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      const stream = yield* second.server.open()
      yield* stream.write(bytes("two"))
      expect(yield* readAll(stream)).toEqual(new Uint8Array(0))
      expect(seen).toEqual(["one", "two"])

      yield* session.close
      yield* expectWaiting(running) // its handler ends by itself
      yield* busy.open
      expect(yield* failureOf(running)).toEqual(new NotConnected({ reason: "Closed" }))
    }))

  it.scoped("ReconnectingSession.run interrupts its handlers when interrupted, and keeps the session", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const session = yield* ReconnectingSession.make({ transport: server.dial, schedule: everySecond })
      const interrupted = yield* Ref.make(0)
      const running = yield* start(
        session.run(() => Effect.onInterrupt(Effect.never, () => Ref.update(interrupted, (n) => n + 1)))
      )
      const { server: far } = yield* server.link
      yield* far.open()
      yield* Fiber.interrupt(running)
      expect(yield* Ref.get(interrupted)).toBe(1)
      expect(yield* far.isClosed).toBe(false)
    }))

  it.scoped("ReconnectingSession.layer provides StreamOpener and StreamAcceptor of its session", () =>
    Effect.gen(function*() {
      const server = yield* makeServer()
      const layer = ReconnectingSession.layer({ transport: server.dial, schedule: everySecond })
      const [session, opener, acceptor] = yield* Effect.provide(
        Effect.all([ReconnectingSession.ReconnectingSession, Session.StreamOpener, Session.StreamAcceptor]),
        layer
      )
      expect([opener, acceptor]).toEqual([session, session])
    }))
})
