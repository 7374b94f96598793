import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import { AcceptTimeout, ConnectFailure, KeepAliveExpired, NotConnected, ReadTimeout } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { bytes } from "../../../support/bytes.js"
import { failureOf, quietly, start } from "../../../support/observe.js"
import { makeStreams, settle } from "../../../support/sessions.js"
import { hour, withSteppedClock } from "../../../support/steppedClock.js"
import { listen } from "../../../support/transportSuite.js"
import { withParts } from "../../../support/withParts.js"

for (const [direction, step] of [["back", hour], ["forward", -hour]] as const) {
  describe(`wall clock set ${direction}`, () => {
    it.scoped(`keepAlive keeps its beat when the wall clock is set ${direction} by an hour`, () =>
      withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const pair = yield* MemoryTransport.makePair()
          let pings = 0
          const transport = withParts(pair.client, { ping: () => pings++ })
          let alive = 0
          const client = withParts(transport, { receiveCount: () => alive })
          const session = yield* Effect.provideService(Session.makeClient(), Transport, client)
          yield* settle
          setBack(step)
          for (const expected of [1, 2, 3, 4]) {
            expect(pings).toBe(expected)
            alive++
            yield* TestClock.adjust("10 seconds")
          }
          yield* TestClock.adjust("10 seconds")
          expect(yield* session.awaitClosed).toBeInstanceOf(KeepAliveExpired)
        })
      ))

    it.scoped(`Session.open keeps its time-out when the wall clock is set ${direction} by an hour`, () =>
      withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const pair = yield* MemoryTransport.makePair({ ping: false })
          const session = yield* Effect.provideService(Session.makeClient(), Transport, pair.client)
          const open = yield* start(session.open())
          setBack(step)
          yield* TestClock.adjust(29_999)
          expect(open.unsafePoll()).toBe(null)
          yield* TestClock.adjust(1)
          expect(yield* failureOf(open)).toBeInstanceOf(AcceptTimeout)
        })
      ))

    it.scoped(`ReconnectingSession.open keeps its time-out when the clock is set ${direction} by an hour`, () =>
      withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const session = yield* ReconnectingSession.make({
            transport: new ConnectFailure({ url: "ws://nowhere", reason: "Unreachable" }),
            schedule: Schedule.spaced("1 minute")
          })
          const open = yield* start(session.open())
          setBack(step)
          yield* TestClock.adjust(29_999)
          expect(open.unsafePoll()).toBe(null)
          yield* TestClock.adjust(1)
          expect(yield* failureOf(open)).toBeInstanceOf(NotConnected)
        })
      ))

    it.scoped(`MemoryTransport keeps its latency when the wall clock is set ${direction} by an hour`, () =>
      withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const { client, server } = yield* MemoryTransport.makePair({ latency: "1 second" })
          const far = yield* listen(server)
          client.send([bytes("before")])
          setBack(step)
          client.send([bytes("after")])
          yield* TestClock.adjust(999)
          expect(far.told).toEqual([])
          yield* TestClock.adjust(1)
          expect(far.told).toEqual(["message", "message"])
        })
      ))

    it.scoped(`ReconnectingSession keeps its delays when the wall clock is set ${direction} by an hour`, () =>
      withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const scope = yield* Effect.scope
          const pairs: Array<MemoryTransport.Pair> = []
          yield* ReconnectingSession.make({
            transport: Effect.tap(
              Scope.extend(MemoryTransport.makePair({ ping: false }), scope),
              (pair) => Effect.sync(() => pairs.push(pair))
            ).pipe(Effect.map(({ client }) => client)),
            schedule: Schedule.exponential("1 second")
          })
          yield* settle
          for (const [lifetime, wait] of [["29 seconds", 1000], ["29 seconds", 2000], ["30 seconds", 1000]] as const) {
            const count = pairs.length
            setBack(step)
            yield* TestClock.adjust(lifetime)
            yield* pairs.at(-1)!.cut
            yield* TestClock.adjust(wait - 1)
            expect(pairs.length).toBe(count)
            yield* TestClock.adjust(1)
            expect(pairs.length).toBe(count + 1)
          }
        })
      ))

    it.scoped(`Deadline keeps its distance when the wall clock is set ${direction} by an hour`, () =>
      withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const { near } = yield* makeStreams(quietly())
          yield* near.setReadDeadline(10_000)
          const read = yield* start(near.read)
          setBack(step)
          yield* TestClock.adjust(9999)
          expect(read.unsafePoll()).toBe(null)
          yield* TestClock.adjust(1)
          expect(yield* failureOf(read)).toBeInstanceOf(ReadTimeout)
        })
      ))
  })
}
