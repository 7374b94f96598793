import { expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { pattern } from "../../support/bytes.js"
import { expectWaiting, start } from "../../support/observe.js"
import { readSome } from "../../support/sessions.js"
import { eventually } from "../../support/transports.js"
import type { Connect } from "./links.js"
import { expectNoFaults, openMany, request, services } from "./traffic.js"

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/** Waits until the session has no stream and no unanswered open. By then Go has ended each of its writers by FIN. */
const settled = (session: Session) =>
  eventually(() => {
    const { streams, unacknowledgedOpens } = Effect.runSync(session.snapshot)
    return streams.length === 0 && unacknowledgedOpens === 0
  })

/** The peer is frozen, and answers opens that were given up. */
export const answersLate = (connect: Connect, peer: string): void => {
  const givingUp = {
    "was interrupted": (session: Session) =>
      Effect.gen(function*() {
        const open = yield* start(Effect.scoped(session.open()))
        yield* expectWaiting(open)
        yield* Fiber.interrupt(open)
      }),
    "has timed out": (session: Session) =>
      Effect.map(Effect.flip(Effect.scoped(session.open())), ({ _tag }) => expect(_tag).toBe("AcceptTimeout"))
  }
  for (const [what, giveUp] of Object.entries(givingUp)) {
    it.scopedLive(`session ends an open that ${what} when ${peer} answers late, and goes on`, () =>
      Effect.gen(function*() {
        const { go, session } = yield* connect({ streamAcceptDeadline: "3 seconds", faults: true }, { serve: "echo" })
        yield* go.signal("SIGSTOP")
        yield* Effect.all([giveUp(session), giveUp(session), giveUp(session)], { concurrency: "unbounded" })
        const { streams, unacknowledgedOpens } = yield* session.snapshot
        expect([streams.length, unacknowledgedOpens]).toEqual([3, 3])
        yield* go.signal("SIGCONT")
        yield* settled(session)
        yield* openMany(session, "echo", 3, 10_000)
        yield* expectNoFaults(session)
      }))
  }
}

/**
 * A session leaves streams on which its peer writes. The writer writes all of its bytes and misses the answer alone, or
 * is stopped. `error` is how its load then fails.
 */
export const leavesStreams = (connect: Connect, peer: string, outcome: string, error: RegExp): void => {
  it.scopedLive(`${peer} ${outcome} when a session leaves its own stream`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect({}, { serve: "source" })
      const leave = Effect.scoped(Effect.gen(function*() {
        const stream = yield* session.open()
        yield* stream.write(request(mebibyte))
        yield* readSome(stream)
      }))
      yield* Effect.all([leave, leave, leave], { concurrency: "unbounded" })
      yield* settled(session)
      yield* openMany(session, "source", 3, 10_000)
      yield* expectNoFaults(session)
    }))

  it.scopedLive(`${peer} ${outcome} when a session leaves a stream of its peer`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { open: "sink", streams: 3, bytes: mebibyte })
      yield* Effect.forkScoped(session.run((stream) => stream.read))
      const { errors, failed } = yield* go.next("result")
      expect([failed, ...errors]).toEqual([
        3,
        ...errors.map(() => expect.stringMatching(error))
      ])
      yield* settled(session)
      expect(yield* session.isClosed).toBe(false)
    }))
}

/** The longest end of a session in these tests in milliseconds, far below the time-outs. */
export const soon = 6000

/** The peer lives when the session closes. */
export const closesSoon = (connect: Connect, peer: string): void => {
  it.scopedLive(`a session closes towards ${peer} in far less than its closeTimeout`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({ closeTimeout: "30 seconds" }, { serve: "hold" })
      yield* session.open()
      const since = performance.now()
      yield* session.close
      expect(performance.now() - since).toBeLessThan(soon)
      yield* go.next("closed")
    }))
}

/** The peer is frozen when the session closes. */
export const closesInTime = (connect: Connect, peer: string): void => {
  it.scopedLive(`session.close completes in time when ${peer} is frozen`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({ closeTimeout: "300 millis", faults: true }, { serve: "hold" })
      yield* session.open()
      yield* go.signal("SIGSTOP")
      const since = performance.now()
      yield* session.close
      expect(performance.now() - since).toBeLessThan(8000)
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "local", code: 1000 })
      yield* go.signal("SIGCONT")
      yield* go.next("closed")
    }))

  it.scopedLive(`session.close completes in time when ${peer} was frozen before it read what was written`, () =>
    Effect.gen(function*() {
      const options = { flushTimeout: "300 millis", closeTimeout: "300 millis", faults: true } as const
      const { go, session } = yield* connect(options, { serve: "hold", buffer: 32 * mebibyte })
      const stream = yield* session.open()
      yield* go.signal("SIGSTOP")
      const write = yield* start(Effect.flip(stream.write(pattern(32 * mebibyte))))
      yield* expectWaiting(write)
      yield* session.close
      expect(yield* Fiber.join(write)).toMatchObject({ _tag: "BrokenPipe", cause: { _tag: "SessionClosed" } })
    }))
}

/** Both ends open streams, and echo those of the other end. `largest` is the size of a stream over a slow link. */
export const fullDuplex = (connect: Connect, peer: string, largest: number): void => {
  const loads = {
    "hold 100 bytes": { buffer: 100, streams: 50, bytes: 5000 },
    "fill the sockets of a slow link": { buffer: 512 * kibibyte, streams: 10, bytes: largest }
  }
  for (const [name, { buffer, bytes, streams }] of Object.entries(loads)) {
    it.scopedLive(`session finishes full-duplex load with ${peer} when the windows ${name}`, () =>
      Effect.gen(function*() {
        const flags = { buffer, serve: "echo", open: "echo", streams, bytes } as const
        const { go, session } = yield* connect({ streamBufferSize: buffer, rate: 4 * mebibyte }, flags)
        yield* Effect.forkScoped(session.run(services.echo))
        yield* openMany(session, "echo", streams, bytes)
        expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [], bytes: streams * bytes })
        yield* expectNoFaults(session)
      }))
  }
}

/**
 * The keep-alive over a link of 20 KiB/s.
 *
 * @param seconds its interval: 2 where the peer shares the process of the test, which may be busy for a while
 */
export const livesOverSlowLink = (connect: Connect, peer: string, seconds: 1 | 2): void => {
  // a pong would wait for thirteen seconds behind a whole window
  const buffer = 256 * kibibyte
  const settings = { keepAliveInterval: `${seconds} seconds`, streamBufferSize: buffer, rate: 20 * kibibyte } as const
  const flags = { keepalive: `${seconds}s`, buffer } as const
  const bytes = 100 * kibibyte // five seconds: more than two intervals

  it.scopedLive(`session lives when it fills a link of 20 KiB/s to ${peer}`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect(settings, { ...flags, serve: "sink" })
      yield* openMany(session, "sink", 1, bytes)
      yield* expectNoFaults(session)
    }))

  it.scopedLive(`session lives when ${peer} fills a link of 20 KiB/s`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect(settings, { ...flags, serve: "source" })
      yield* openMany(session, "source", 1, bytes)
      yield* expectNoFaults(session)
    }))

  it.scopedLive("session lives when both ends fill a link of 20 KiB/s", () =>
    Effect.gen(function*() {
      const { session } = yield* connect(settings, { ...flags, serve: "echo" })
      yield* openMany(session, "echo", 1, bytes)
      yield* expectNoFaults(session)
    }))
}
