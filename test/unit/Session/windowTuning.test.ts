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

/** A session whose windows may grow, over a link with `latency` milliseconds each way, and a scripted peer. */
const makeTuned = (options: SessionConfig.PartialSettings = {}, latency = 10) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", { ...tuned, ...options }, { latency })
    const pass = (millis: number) => TestClock.adjust(millis)
    yield* pass(2 * latency) // the round trip of the first ping
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
 * Sends as many bytes as the credit allows in each round trip. Returns the credit that each round trip brought back.
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

describe("WindowTuner", () => {
  it.scoped("WindowTuner doubles a window up to the maximum while reads take at most two round trips", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned()
      expect(yield* roundTrips(peer, 1, kib, 6)).toEqual([2, 4, 8, 16, 16, 16].map((size) => size * kib))
    }))

  it.scoped("WindowTuner gives the next stream the grown window at once", () =>
    Effect.gen(function*() {
      const peer = yield* makeTuned()
      yield* roundTrips(peer, 1, kib, 4)
      expect(yield* roundTrips(peer, 3, kib, 2)).toEqual([16 * kib, 16 * kib])
    }))

  it.scoped("WindowTuner keeps windows when maxStreamBufferSize is at most streamBufferSize", () =>
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

  it.scoped("WindowTuner keeps windows when the transport cannot ping", () =>
    Effect.gen(function*() {
      const { send, frames, session } = yield* makePeer("server", tuned, { ping: false })
      yield* send(syn(1))
      const stream = yield* session.accept
      yield* send(dat(1, pattern(kib)))
      yield* readSome(stream)
      expect(yield* frames).toEqual([ack(1, kib), ack(1, kib)])
    }))

  it.scoped("WindowTuner keeps a window when its reader takes more than two round trips", () =>
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

  it.scoped("WindowTuner keeps growth within maxWindowGrowth, and reuses the share of ended streams", () =>
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

  it.scoped("WindowTuner keeps the share of an ended stream until its last bytes are read", () =>
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

  it.scoped("WindowTuner fills a slow link that streamBufferSize leaves idle", () =>
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

/** Counts the round trips of 20 ms that a program takes. */
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
