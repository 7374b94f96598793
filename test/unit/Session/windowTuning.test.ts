import { describe, expect, it } from "@effect/vitest"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import type * as Frame from "../../../src/internal/wire/frame.js"
import { pattern } from "../../support/bytes.js"
import { quiet } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeStreams, readAll, readSome } from "../../support/sessions.js"

const kib = 1024

const brief: SessionConfig.PartialSettings = { ...quiet, flushTimeout: 0, closeTimeout: 0 }

const tuned: SessionConfig.PartialSettings = {
  ...brief,
  streamBufferSize: kib,
  maxStreamBufferSize: 16 * kib
}

/** A session that lets windows grow, over a network of so many milliseconds each way, and a peer that is all credit. */
const makeTuned = (options: SessionConfig.PartialSettings = {}, latency = 10) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", { ...tuned, ...options }, { latency })
    const pass = (millis: number) => TestClock.adjust(millis)
    yield* pass(2 * latency) // for the ping and its answer
    const open = (id: number) =>
      Effect.gen(function*() {
        yield* peer.send(syn(id))
        yield* pass(latency)
        const stream = yield* peer.session.accept
        yield* pass(latency)
        return stream
      })
    const credits = Effect.map(peer.frames, (frames) =>
      frames.flatMap((frame: Frame.Frame | Frame.Malformed) => frame._tag === "Ack" ? [frame.credit] : []))
    return { ...peer, pass, open, credits }
  })

/**
 * Sends as much as a sender may that always has something, and answers the credit that comes back one round trip later.
 */
const roundTrips = (
  peer: Effect.Effect.Success<ReturnType<typeof makeTuned>>,
  id: number,
  window: number,
  times: number
) =>
  Effect.gen(function*() {
    const stream = yield* peer.open(id)
    const granted: Array<number> = []
    expect(yield* peer.credits).toEqual([window])
    let credit = window
    for (let i = 0; i < times; i++) {
      yield* peer.send(dat(id, pattern(credit)))
      yield* peer.pass(10)
      yield* readSome(stream)
      yield* peer.pass(10)
      credit = (yield* peer.credits).reduce((sum, one) => sum + one, 0)
      granted.push(credit)
    }
    return granted
  })

describe("window tuning", () => {
  it.scoped("doubles the window of a stream while each is read within two round trips, up to the largest", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned()
      expect(yield* roundTrips(peer, 1, kib, 6)).toEqual([2, 4, 8, 16, 16, 16].map((size) => size * kib))
    }))

  it.scoped("gives the next stream at once what the last one has needed", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned()
      yield* roundTrips(peer, 1, kib, 4)
      expect(yield* roundTrips(peer, 3, kib, 2)).toEqual([16 * kib, 16 * kib])
    }))

  it.scoped("is off unless the largest window exceeds the usual one", () =>
    Effect.gen(function*() {
      for (const maxStreamBufferSize of [undefined, kib - 1, kib]) {
        const { frames, send, session } = yield* makePeer("server", { ...tuned, maxStreamBufferSize })
        yield* send(syn(1))
        const stream = yield* session.accept
        for (let i = 0; i < 3; i++) {
          yield* send(dat(1, pattern(kib)))
          yield* readSome(stream)
        }
        expect(yield* frames).toEqual([ack(1, kib), ack(1, kib), ack(1, kib), ack(1, kib)])
      }
    }))

  it.scoped("is off where the transport cannot ping", () =>
    Effect.gen(function*() {
      const { send, frames, session } = yield* makePeer("server", tuned, { ping: false })
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(dat(1, pattern(kib)))
      yield* readSome(stream)
      expect(yield* frames).toEqual([ack(1, kib), ack(1, kib)])
    }))

  it.scoped("leaves a stream alone whose reader takes more than two round trips", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned()
      const stream = yield* peer.open(1)
      yield* peer.credits
      for (let i = 0; i < 3; i++) {
        yield* peer.send(dat(1, pattern(kib)))
        yield* peer.pass(41)
        yield* readSome(stream)
        yield* peer.pass(10)
        expect(yield* peer.credits).toEqual([kib])
      }
    }))

  it.scoped("keeps all windows of a session within the budget, and gets it back with the streams", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned({ maxWindowGrowth: 3 * kib })
      const scope = yield* Scope.make()
      expect(yield* Scope.extend(roundTrips(peer, 1, kib, 3), scope)).toEqual([2 * kib, 4 * kib, 4 * kib])
      expect(yield* roundTrips(peer, 3, kib, 2)).toEqual([kib, kib])
      yield* Scope.close(scope, Exit.void)
      yield* peer.send(fin(1))
      yield* peer.pass(20)
      yield* peer.frames
      expect(yield* roundTrips(peer, 5, kib, 1)).toEqual([4 * kib])
    }))

  it.scoped("keeps what a window has grown by within the budget until what it let in is read", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned({ maxWindowGrowth: 3 * kib })
      const scope = yield* Scope.make()
      const stream = yield* Scope.extend(peer.open(1), scope)
      yield* peer.credits
      for (const credit of [kib, 2 * kib]) {
        yield* peer.send(dat(1, pattern(credit)))
        yield* peer.pass(10)
        yield* readSome(stream)
        yield* peer.pass(10)
      }
      expect(yield* peer.credits).toEqual([2 * kib, 4 * kib])
      yield* peer.send(dat(1, pattern(4 * kib)), fin(1))
      yield* stream.end
      yield* peer.pass(20)
      expect((yield* peer.session.snapshot).streams).toEqual([])
      yield* peer.frames
      expect(yield* roundTrips(peer, 3, kib, 2)).toEqual([kib, kib])
      yield* readSome(stream)
      expect(yield* roundTrips(peer, 5, kib, 2)).toEqual([4 * kib, 4 * kib])
      yield* Scope.close(scope, Exit.void)
    }))

  it.scoped("fills a slow link that the usual window leaves empty", () =>
    Effect.gen(function*() {
      const transfer = (server: SessionConfig.PartialSettings) =>
        Effect.scoped(Effect.gen(function*() {
          const { far, near } = yield* makeStreams({
            client: brief,
            server,
            link: { latency: 10, capacity: 1024 * kib }
          })
          yield* Effect.fork(Effect.zipRight(near.write(pattern(256 * kib)), near.end))
          expect((yield* readAll(far)).byteLength).toBe(256 * kib)
        }))
      expect(yield* roundTripsOf(transfer({ ...tuned, maxStreamBufferSize: 1024 * kib }))).toBeLessThan(20)
      expect(yield* roundTripsOf(transfer({ ...tuned, maxStreamBufferSize: undefined }))).toBeGreaterThan(250)
    }))
})

/** How many times 20 ms it takes. */
const roundTripsOf = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const running = yield* Effect.fork(program)
    let count = 0
    while ((yield* Fiber.poll(running))._tag === "None") {
      yield* TestClock.adjust(20)
      count++
    }
    yield* Fiber.join(running)
    return count
  })
