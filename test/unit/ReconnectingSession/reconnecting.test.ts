import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import {
  BrokenPipe,
  ConnectFailure,
  NotConnected,
  SessionClosed,
  TransportFailure,
  WrongParity
} from "effect-wsmux/WsmuxError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Intervals from "effect/ScheduleIntervals"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, start } from "../../support/observe.js"
import { readAll, readSome, settle } from "../../support/sessions.js"

/** A link that was dialled, with the session of the server at its other end. */
interface Link {
  readonly server: Session.Session
  readonly pair: MemoryTransport.Pair
}

const unreachable = new ConnectFailure({ url: "ws://nowhere", reason: "Unreachable" })
const everySecond = Schedule.spaced("1 second")

/** A server that takes calls, unless it is down. */
const makeServer = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const links = yield* Queue.unbounded<Link>()
  const down = yield* Ref.make(false)
  const calls = yield* Ref.make(0)
  const dial = Effect.gen(function*() {
    yield* Ref.update(calls, (n) => n + 1)
    if (yield* Ref.get(down)) return yield* unreachable
    const pair = yield* Scope.extend(MemoryTransport.makePair(), scope)
    const server = yield* Session.makeServer().pipe(Effect.provideService(Transport, pair.server), Scope.extend(scope))
    yield* Queue.offer(links, { server, pair })
    return pair.client
  })
  return { dial, link: Queue.take(links), calls: Ref.get(calls), setDown: (is: boolean) => Ref.set(down, is) }
})

const cut = ({ pair }: Link) => Effect.zipRight(pair.cut, settle)

describe("a failure", () => {
  const rejected = (status: number) => new ConnectFailure({ url: "ws://a", reason: "Rejected", status })
  const closed = (code: number, by: "peer" | "local" = "peer") => new SessionClosed({ by, code, reason: "" })
  const refusals = [200, 301, 400, 401, 403, 404, 407, 410, 426]
  const passing = [408, 425, 429, 500, 502, 503]

  it("is hopeless when a server refuses, and after a session only when it refuses the client", () => {
    const hopeless = (hasConnected: boolean) =>
      [...refusals, ...passing].filter((status) => ReconnectingSession.isHopeless(rejected(status), hasConnected))
    expect(hopeless(false)).toEqual(refusals)
    expect(hopeless(true)).toEqual([401, 403, 407])
  })

  it("is hopeless when a peer closes the session with a code that says so", () => {
    const codes = [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4008]
    const mirrored = [4400, 4401, 4403, 4404, 4408, 4429, 4499, 4500, 4503]
    const hopeless = [...codes, ...mirrored].filter((code) => ReconnectingSession.isHopeless(closed(code), true))
    expect(hopeless).toEqual([1003, 1008, 1010, 4400, 4401, 4403, 4404, 4499])
    expect(ReconnectingSession.isHopeless(closed(1008, "local"), true)).toBe(false)
  })

  it("is hopeless when the address or the roles are wrong, and not when the network fails", () => {
    const failures = [
      new ConnectFailure({ url: "a", reason: "InvalidUrl" }),
      new WrongParity({ streamId: 1, role: "client" }),
      new ConnectFailure({ url: "ws://a", reason: "Unreachable" }),
      new ConnectFailure({ url: "ws://a", reason: "Timeout" }),
      new TransportFailure({ code: 1006, reason: "" }),
      new Error("of a program's own")
    ]
    expect(failures.map((failure) => ReconnectingSession.isHopeless(failure, false)))
      .toEqual([true, true, false, false, false, false])
  })
})

describe("the default schedule", () => {
  it.effect("waits a random part of half a second, and of twice as much each time, up to 30 s", () =>
    Effect.gen(function*() {
      const delays = Array.from({ length: 9 }, (): Array<number> => [])
      for (let run = 0; run < 200; run++) {
        let state: unknown = ReconnectingSession.defaultSchedule.initial
        for (const waits of delays) {
          const [next, , decision] = yield* ReconnectingSession.defaultSchedule.step(0, undefined, state)
          state = next
          waits.push(decision._tag === "Continue" ? Intervals.start(decision.intervals) : Number.NaN)
        }
      }
      for (const [attempt, waits] of delays.entries()) {
        const longest = Math.min(500 * 2 ** attempt, 30_000)
        expect(Math.min(...waits)).toBeLessThan(longest * 0.2)
        expect(Math.max(...waits)).toBeGreaterThan(longest * 0.8)
        expect(Math.max(...waits)).toBeLessThanOrEqual(longest)
      }
    }))
})

describe("a reconnecting session", () => {
  it.scoped("opens streams on whichever session there is, and those of a lost one say so", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const session = yield* ReconnectingSession.make({ transport: () => server.dial, schedule: everySecond })
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

  it.scoped("opens on the next session what a session that ended had not yet opened", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const session = yield* ReconnectingSession.make({ transport: () => server.dial, schedule: everySecond })
      const first = yield* server.link
      const open = yield* start(session.open()) // nobody accepts it there
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      yield* second.server.accept
      expect((yield* Fiber.join(open)).id).toBe(1)
    }))

  it.scoped("gives an open up after all the time it may wait for sessions, and tells what was last in the way", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      yield* server.setDown(true)
      const session = yield* ReconnectingSession.make({
        transport: () => server.dial,
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

  it.scoped("waits 30 s for a session unless told otherwise", () =>
    Effect.gen(function*() {
      const session = yield* ReconnectingSession.make({ transport: () => Effect.never })
      const open = yield* start(session.open())
      yield* TestClock.adjust(29_999)
      yield* expectWaiting(open)
      yield* TestClock.adjust(1)
      const failure = yield* failureOf(open)
      expect(failure).toEqual(new NotConnected({ reason: "Timeout", cause: undefined }))
    }))

  it.scoped("accepts streams of one session after the other, each once", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const session = yield* ReconnectingSession.make({ transport: () => server.dial, schedule: everySecond })
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

  it.scoped("runs its handler on the streams of the next session while one of the last is still busy", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const session = yield* ReconnectingSession.make({ transport: () => server.dial, schedule: everySecond })
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

  it.scoped("interrupts the handlers with run, and leaves the session as it is", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const session = yield* ReconnectingSession.make({ transport: () => server.dial, schedule: everySecond })
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

  it.scoped("gets fresh credentials for every attempt, and runs the hook before anybody else gets the session", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const tokens = yield* Ref.make(0)
      const seen: Array<string> = []
      const gate = yield* Effect.makeLatch(false)
      const session = yield* ReconnectingSession.make({
        credentials: Ref.updateAndGet(tokens, (n) => n + 1),
        transport: (token) => Effect.zipRight(Effect.sync(() => seen.push(`dial with ${token}`)), server.dial),
        connected: (session, token) =>
          Effect.gen(function*() {
            yield* gate.await
            const login = yield* session.open()
            yield* Stream.run(Stream.make(bytes(`token ${token}`)), login.writable)
            seen.push(`logged in with ${token}`)
            yield* Effect.addFinalizer(() => Effect.sync(() => seen.push(`the scope of ${token} has ended`)))
          }),
        schedule: everySecond
      })
      const current = yield* start(session.current)
      const first = yield* server.link
      yield* settle
      yield* expectWaiting(current)
      yield* gate.open
      expect(text(yield* readAll(yield* first.server.accept))).toBe("token 1")
      yield* Fiber.join(current)
      yield* server.setDown(true)
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      yield* server.setDown(false)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      expect(text(yield* readAll(yield* second.server.accept))).toBe("token 3")
      yield* session.current
      expect(seen).toEqual([
        "dial with 1",
        "logged in with 1",
        "the scope of 1 has ended",
        "dial with 2",
        "dial with 3",
        "logged in with 3"
      ])
    }))

  it.scoped("takes a hook that fails, or outlives its session, for a failed attempt", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const hooks = [Effect.fail(unreachable), Effect.never, Effect.void]
      const session = yield* ReconnectingSession.make({
        transport: () => server.dial,
        connected: (): Effect.Effect<void, ConnectFailure> => hooks.shift()!,
        schedule: everySecond
      })
      const refused = yield* server.link
      yield* settle
      expect((yield* refused.server.awaitClosed)._tag).toBe("SessionClosed")
      expect(yield* session.state.get).toEqual({ _tag: "Connecting", attempt: 2, cause: unreachable })
      yield* TestClock.adjust("1 second")
      yield* cut(yield* server.link)
      const third = { _tag: "Connecting", attempt: 3, cause: new TransportFailure({ code: 1006, reason: "" }) }
      expect(yield* session.state.get).toMatchObject(third)
      yield* TestClock.adjust("1 second")
      expect((yield* session.state.get)._tag).toBe("Connected")
    }))

  it.scoped("begins its schedule anew with a session that has lived for 30 s", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      yield* server.setDown(true)
      yield* ReconnectingSession.make({ transport: () => server.dial, schedule: Schedule.exponential("1 second") })
      yield* TestClock.adjust("7 seconds") // 1, 2 and 4 s after the attempts before
      expect(yield* server.calls).toBe(4)
      yield* server.setDown(false)
      yield* TestClock.adjust("8 seconds")
      const link = yield* server.link
      yield* settle
      yield* server.setDown(true)
      yield* TestClock.adjust("30 seconds")
      yield* cut(link)
      yield* TestClock.adjust("1 second")
      expect(yield* server.calls).toBe(6)
      yield* TestClock.adjust("2 seconds")
      expect(yield* server.calls).toBe(7)
    }))

  it.scoped("goes on with its schedule when a server drops each session, and never faster than told", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      yield* ReconnectingSession.make({
        transport: () => server.dial,
        schedule: Schedule.exponential("1 second"),
        stableAfter: "5 seconds"
      })
      yield* cut(yield* server.link)
      for (const seconds of [1, 2, 4, 8]) {
        yield* TestClock.adjust(seconds * 1000 - 1)
        const calls = yield* server.calls
        yield* TestClock.adjust(1)
        expect(yield* server.calls).toBe(calls + 1)
        yield* cut(yield* server.link)
      }
      yield* TestClock.adjust("16 seconds")
      const link = yield* server.link
      yield* TestClock.adjust("5 seconds")
      yield* cut(link)
      const calls = yield* server.calls
      yield* TestClock.adjust("1 second")
      expect(yield* server.calls).toBe(calls + 1)
    }))

  it.scoped("waits for what the server asks for, at most an hour, and its schedule besides", () =>
    Effect.gen(function*() {
      const asked = [20_000, undefined, 1e15]
      let calls = 0
      yield* ReconnectingSession.make({
        transport: () =>
          new ConnectFailure({
            url: "ws://busy",
            reason: "Rejected",
            status: 503,
            retryAfterMillis: asked[calls++]
          }),
        schedule: everySecond
      })
      yield* settle
      for (const wait of [21_000, 1000, 3_601_000]) {
        const before = calls
        yield* TestClock.adjust(wait - 1)
        expect(calls).toBe(before)
        yield* TestClock.adjust(1)
        expect(calls).toBe(before + 1)
      }
    }))

  it.scoped("gives up at once when a failure is hopeless, as the default or an option says", () =>
    Effect.gen(function*() {
      const refusal = new ConnectFailure({ url: "ws://a", reason: "Rejected", status: 403 })
      const session = yield* ReconnectingSession.make({ transport: () => refusal })
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "GaveUp", cause: refusal }))

      const server = yield* makeServer
      const asked: Array<readonly [tag: string, hasConnected: boolean]> = []
      const other = yield* ReconnectingSession.make({
        transport: () => server.dial,
        schedule: everySecond,
        isHopeless: (cause, hasConnected) => {
          asked.push([cause._tag, hasConnected])
          return cause._tag === "SessionClosed" && cause.code === 4001
        }
      })
      yield* cut(yield* server.link)
      yield* TestClock.adjust("1 second")
      yield* (yield* server.link).pair.close(4001, "replaced by another client")
      const { cause } = yield* other.awaitClosed
      expect(cause).toEqual(new SessionClosed({ by: "peer", code: 4001, reason: "replaced by another client" }))
      expect(asked).toEqual([["TransportFailure", true], ["SessionClosed", true]])
    }))

  it.scoped("gives its settings to the transport that it dials", () =>
    Effect.gen(function*() {
      const sizes: Array<number> = []
      const server = yield* makeServer
      const session = yield* ReconnectingSession.make({
        transport: () =>
          Effect.flatMap(SessionConfig.SessionConfig, (settings) => {
            sizes.push(settings.streamBufferSize)
            return server.dial
          }),
        settings: { streamBufferSize: 2048 }
      })
      yield* session.current
      expect(sizes).toEqual([2048])
    }))

  it.scoped("gives up when the schedule does, and every operation tells why", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const seen: Array<string> = []
      const session = yield* ReconnectingSession.make({
        transport: () => server.dial,
        schedule: Schedule.recurs(0).pipe(
          Schedule.tapInput((cause: { readonly _tag: string }) => Effect.sync(() => seen.push(cause._tag)))
        )
      })
      const link = yield* server.link
      const accept = yield* start(session.accept)
      yield* link.server.close
      const why = new NotConnected({
        reason: "GaveUp",
        cause: new SessionClosed({ by: "peer", code: 1000, reason: "" })
      })
      expect(yield* session.awaitClosed).toEqual(why)
      expect(yield* failureOf(accept)).toEqual(why)
      expect(yield* Effect.flip(session.open())).toEqual(why)
      expect(yield* Effect.flip(session.current)).toEqual(why)
      expect(yield* Effect.flip(session.run(() => Effect.void))).toEqual(why)
      expect(yield* session.state.get).toEqual({ _tag: "Closed", cause: why })
      expect(why.message).toBe("there is no session any more: the session was closed by the peer (code 1000)")
      expect(seen).toEqual(["SessionClosed"])
    }))

  it.scoped("gives up at a defect", () =>
    Effect.gen(function*() {
      const defect = new Error("a bug")
      const session = yield* ReconnectingSession.make({ transport: () => Effect.die(defect) })
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "GaveUp", defect }))
    }))

  it.scoped("refuses settings that make no sense before it dials", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const error = yield* Effect.flip(ReconnectingSession.make({
        transport: () => server.dial,
        settings: { streamBufferSize: -1 }
      }))
      expect(error).toMatchObject({ _tag: "InvalidConfiguration", setting: "streamBufferSize" })
      expect(yield* server.calls).toBe(0)
    }))

  it.scoped("closes its session with its scope, dials no more, and tells its state all along", () =>
    Effect.gen(function*() {
      const server = yield* makeServer
      const scope = yield* Scope.make()
      const session = yield* Scope.extend(
        ReconnectingSession.make({ transport: () => server.dial, role: "client", schedule: everySecond }),
        scope
      )
      yield* session.current
      const states: Array<string> = []
      yield* start(Stream.runForEach(session.state.changes, ({ _tag }) => Effect.sync(() => states.push(_tag))))
      const first = yield* server.link
      yield* cut(first)
      yield* TestClock.adjust("1 second")
      const second = yield* server.link
      yield* settle
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      expect(yield* second.server.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
      yield* settle
      expect(states).toEqual(["Connected", "Connecting", "Connected", "Closed"])
      yield* TestClock.adjust("1 hour")
      expect(yield* server.calls).toBe(2)
      yield* session.close
      expect(yield* session.awaitClosed).toEqual(new NotConnected({ reason: "Closed" }))
    }))
})
