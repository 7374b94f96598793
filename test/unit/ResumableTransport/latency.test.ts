import { describe, expect, it } from "@effect/vitest"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import { quiet, start } from "../../support/observe.js"
import { makeServer } from "../../support/resumable.js"
import { auto, readSome, settle } from "../../support/sessions.js"

/** How long a message travels, in milliseconds. */
const way = 20
/** The round trips that a dial takes here: TCP, TLS 1.3 and the upgrade. */
const dialTrips = 3

const now = TestClock.currentTimeMillis

/** Both ends of a stream over a link of 20 ms, with writes that wait in a suspended session at both ends. */
const makeWaiting = (failures: number, schedule: Schedule.Schedule<unknown, unknown>) =>
  Effect.gen(function*() {
    const server = yield* makeServer({ link: { latency: way }, server: quiet })
    let dials = 0
    const dial = Effect.gen(function*() {
      yield* Effect.sleep(dialTrips * 2 * way)
      server.network.isDown = dials > 0 && dials <= failures
      dials++
      return yield* server.dial
    })
    const connecting = yield* start(ResumableTransport.connect(dial, { schedule }))
    yield* steps(20)
    const transport = yield* Fiber.join(connecting)
    const client = yield* Effect.provideService(Session.makeClient({ ...auto, ...quiet }), Transport, transport)
    const peer = yield* Queue.take(server.accepted)
    const streams = yield* start(Effect.all([client.open(), peer.accept], { concurrency: 2 }))
    yield* steps(20)
    const [near, far] = yield* Fiber.join(streams)
    const arrivals = yield* Effect.forEach([near, far], (stream) => start(Effect.zipRight(readSome(stream), now)))
    yield* server.links[0]!.cut
    const lostAt = yield* now
    yield* settle
    for (const stream of [near, far]) yield* start(stream.write(new Uint8Array(1)))
    yield* steps(200)
    const [atClient, atServer] = yield* Effect.forEach(arrivals, Fiber.join)
    return { atClient: atClient! - lostAt, atServer: atServer! - lostAt, requests: server.network.requests }
  })

/** Moves the clock in steps that no event skips. */
const steps = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.zipRight(TestClock.adjust(way), settle))

describe("ResumableTransport", () => {
  it.scoped("the client has its first byte one dial and one round trip after the loss", () =>
    Effect.gen(function*() {
      const { atClient, atServer, requests } = yield* makeWaiting(0, Schedule.spaced("1 second"))
      expect(requests).toBe(2)
      expect(atClient).toBe((dialTrips + 1) * 2 * way)
      expect(atServer).toBe(atClient + way) // the client sends when it has the answer
    }))

  it.scoped("the first byte comes one delay of the schedule and one dial later for each failed attempt", () =>
    Effect.gen(function*() {
      const { atClient, requests } = yield* makeWaiting(2, Schedule.spaced("200 millis"))
      expect(requests).toBe(4)
      expect(atClient).toBe(2 * (dialTrips * 2 * way + 200) + (dialTrips + 1) * 2 * way)
    }))
})
