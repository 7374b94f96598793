import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Frame from "../../../src/internal/wire/frame.js"
import { Feature } from "../../../src/internal/wire/record.js"
import { bytes } from "../../support/bytes.js"
import { encodeMessage, goAway, hello } from "../../support/records.js"
import { ack, dat, fin, syn } from "../../support/scriptedPeer.js"
import { type Attacker, connect, forIds, frame, messages } from "./attacker.js"
import { attacking, full, makeVictim, mebibyte, patience, report, slack } from "./support.js"

/** Sends a batch until this many of its units have gone, and waits until the server has handled all of them. */
const storm = (attacker: Attacker, batch: Uint8Array, units: number, count: number) =>
  Effect.gen(function*() {
    for (let sent = 0; sent < count; sent += units) yield* attacker.send(batch)
    yield* attacker.answered
  })

const repeated = (count: number, ...frames: ReadonlyArray<Frame.Frame>) =>
  Buffer.concat(Array.from({ length: count }, () => messages(...frames)))

describe.sequential("a server with unread bytes", () => {
  const storms: Readonly<Record<string, ReadonlyArray<number>>> = {
    "one at a time": [1],
    "one after every kilobyte": [1024, 1],
    "two after every kilobyte": [1024, 1, 1],
    "one after every eight kilobytes": [8192, 1]
  }
  for (const [name, sizes] of Object.entries(storms)) {
    it.scopedLive(
      `server holds at most two bytes for each unread one when bytes come ${name}`,
      () =>
        Effect.gen(function*() {
          const window = 64 * mebibyte
          const victim = yield* makeVictim({ settings: { streamBufferSize: window } })
          yield* attacking(victim, (before) =>
            Effect.gen(function*() {
              const attacker = yield* connect(victim.port, { path: "/ignore" })
              yield* attacker.send(messages(syn(1)))
              yield* attacker.answered
              const round = sizes.reduce((sum, size) => sum + size, 0)
              const units = Math.max(1, Math.floor(50_000 / round))
              const batch = repeated(units, ...sizes.map((size) => dat(1, new Uint8Array(size))))
              const count = Math.floor(full(32, sizes.length === 1 ? 0.5 : 8) * mebibyte / round)
              yield* storm(attacker, batch, units, count)
              const { buffered, sessions } = yield* victim.condition
              const grown = (yield* victim.memory) - before
              yield* report(`bytes ${name}`, {
                "bytes buffered": buffered,
                "bytes in all": grown,
                "each byte": grown / buffered
              })
              expect(sessions).toBe(1)
              expect(buffered).toBeGreaterThanOrEqual(count * round)
              expect(grown).toBeLessThan(2 * buffered + slack)
            }))
        }),
      patience
    )
  }

  it.scopedLive(
    "server holds at most 512 bytes a stream when each of 2,000 streams has one unread byte",
    () =>
      Effect.gen(function*() {
        const count = 2000 // more streams would reach the limit of the process, which another test covers
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            for (let from = 0; from < count; from += 100) {
              yield* attacker.send(forIds(100, (id) => [syn(id)], from))
              yield* attacker.answered
            }
            const streams = (yield* victim.memory) - before
            for (let i = 0; i < 1000; i++) {
              yield* attacker.push(forIds(count / 1000, (id) => [dat(id, bytes("x"))], i * count / 1000))
            }
            yield* attacker.answered
            const { buffered } = yield* victim.condition
            const each = ((yield* victim.memory) - before - streams) / count
            yield* report("one byte for each stream", { streams: count, "bytes a byte": each })
            expect(buffered).toBe(count)
            expect(each).toBeLessThan(512 + slack / count)
          }))
      }),
    patience
  )

  const nothings: Readonly<Record<string, { readonly frames: ReadonlyArray<Frame.Frame>; readonly ignored: number }>> =
    {
      "frames without bytes": { frames: [dat(1, bytes(""))], ignored: 1 },
      "frames of unknown or ended streams": {
        frames: [dat(3, bytes("x")), ack(5, 1), fin(7), dat(99, bytes("yz")), ack(100, Frame.maxUint32), fin(0)],
        ignored: 6
      },
      "a SYN for an open stream": { frames: [syn(1)], ignored: 0 }
    }
  for (const [name, { frames, ignored }] of Object.entries(nothings)) {
    it.scopedLive(`server ignores frames and holds no memory when a peer sends ${name}`, () =>
      Effect.gen(function*() {
        const count = full(5_000_000, 100_000)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            yield* attacker.send(messages(syn(1)))
            yield* attacker.send(messages(syn(3), fin(3)))
            yield* attacker.answered
            const known = yield* victim.condition
            yield* storm(attacker, repeated(2000, ...frames), 2000, count)
            const { buffered, counters, sessions, streams } = yield* victim.condition
            const grown = (yield* victim.memory) - before
            yield* report(name, { frames: count * frames.length, "bytes in all": grown })
            expect({ buffered, sessions, streams }).toEqual({ buffered: 0, sessions: 1, streams: known.streams })
            expect(counters.ignoredFrames - known.counters.ignoredFrames).toBe(ignored * count)
            expect(counters.duplicateSyns).toBe(ignored === 0 ? count : 0)
            expect(grown).toBeLessThan(slack)
          }))
      }), patience)
  }
})

describe.sequential("a server with announcements of a drain", () => {
  const native = encodeMessage(hello({ features: Feature.open | Feature.reset | Feature.goAway | Feature.ping }))
  const storms: Readonly<Record<string, { readonly grace: (turn: number) => number; readonly isNews: boolean }>> = {
    "the same GOAWAY": { grace: () => 1000, isNews: false },
    "a GOAWAY with a longer grace each time": { grace: (turn) => 1000 + turn, isNews: false },
    "a GOAWAY with a shorter grace each time": { grace: (turn) => Frame.maxUint32 - turn * 4000, isNews: true }
  }
  for (const [name, { grace, isNews }] of Object.entries(storms)) {
    it.scopedLive(`server holds no memory and serves on when a peer sends ${name}`, () =>
      Effect.gen(function*() {
        const count = full(1_000_000, 60_000)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            yield* attacker.send(messages(native, syn(1)))
            for (let sent = 0; sent < count; sent += 2000) {
              const batch = Array.from({ length: 2000 }, (_, turn) => encodeMessage(goAway(grace(sent + turn))))
              yield* attacker.send(messages(...batch))
            }
            yield* attacker.answered
            yield* attacker.send(messages(syn(3))) // a peer that drains may open streams
            yield* attacker.answered
            const { counters, sessions, streams } = yield* victim.condition
            const grown = (yield* victim.memory) - before
            yield* report(name, { records: count, "bytes in all": grown })
            expect({ sessions, streams }).toEqual({ sessions: 1, streams: 2 })
            const ignored = counters.ignoredFrames
            expect(ignored).toBe(isNews ? 0 : count - 1)
            expect(grown).toBeLessThan(slack)
          }))
      }), patience)
  }
})

describe.sequential("a server with malformed messages", () => {
  interface Bad {
    readonly bytes: Uint8Array
    readonly ends: string
    /** Whether the peer speaks the dialect. */
    readonly isNative?: boolean
  }
  const bad: Readonly<Record<string, Bad>> = {
    "a GOAWAY cut short": {
      bytes: messages(encodeMessage(goAway(5)).subarray(0, 14)),
      ends: "MalformedFrame",
      isNative: true
    },
    "a GOAWAY with too long a reason": {
      bytes: messages(Buffer.concat([encodeMessage(goAway(5)), new Uint8Array(129)])),
      ends: "MalformedFrame",
      isNative: true
    },
    "text": { bytes: frame(0x1, bytes("hello")), ends: "UnexpectedText" },
    "without a header": { bytes: messages(new Uint8Array(4)), ends: "MalformedFrame" },
    "empty": { bytes: messages(new Uint8Array(0)), ends: "MalformedFrame" },
    "of an unknown type": { bytes: messages(Uint8Array.of(4, 1, 0, 0, 0)), ends: "MalformedFrame" },
    "with a credit cut short": { bytes: messages(Frame.ack(1, 1).subarray(0, 7)), ends: "MalformedFrame" },
    "opens of the wrong parity": { bytes: messages(syn(2)), ends: "WrongParity" },
    "too large to be legal": { bytes: messages(new Uint8Array(5 * mebibyte)), ends: "TransportFailure" },
    "of a length beyond all measure": {
      bytes: Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
      ends: "TransportFailure"
    },
    "in more fragments than bytes are worth": {
      bytes: Buffer.concat(
        Array.from({ length: 20_000 }, (_, i) => frame(i === 0 ? 0x2 : 0, bytes("x"), { fin: false }))
      ),
      ends: "TransportFailure"
    },
    "in the opcode of none": { bytes: frame(0x3, bytes("x")), ends: "TransportFailure" }
  }
  const rounds = full(200, 2)
  it.scopedLive("server ends the session and holds nothing when a message is malformed", () =>
    Effect.gen(function*() {
      const victim = yield* makeVictim()
      yield* attacking(victim, (before) =>
        Effect.gen(function*() {
          const expected: Record<string, number> = {}
          for (let round = 0; round < rounds; round++) {
            yield* Effect.forEach(Object.values(bad), ({ bytes, ends, isNative = false }) =>
              Effect.gen(function*() {
                const attacker = yield* connect(victim.port, { path: "/ignore" })
                yield* attacker.push(messages(...isNative ? [encodeMessage(hello())] : [], syn(1)))
                yield* attacker.push(bytes)
                yield* attacker.closed
                expected[ends] = (expected[ends] ?? 0) + 1
              }), { concurrency: "unbounded" })
          }
          const { ended, sockets } = yield* victim.until(({ sessions }) => sessions === 0)
          const grown = (yield* victim.memory) - before
          yield* report("messages that are no frames", {
            sessions: rounds * Object.keys(bad).length,
            "bytes left": grown
          })
          expect(ended).toEqual(expected)
          expect(sockets).toBeLessThan(10)
          expect(grown).toBeLessThan(slack)
        }))
    }), patience)

  it.scopedLive(
    "server holds one message a session when the messages of seven sessions are unfinished",
    () =>
      Effect.gen(function*() {
        const count = 7 // more messages would reach the limit of the process, which another test covers
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const most = 4 * mebibyte + 5
            const unfinished = frame(0x2, new Uint8Array(most)).subarray(0, -1)
            const attackers = yield* Effect.replicateEffect(connect(victim.port, { path: "/ignore" }), count)
            for (const attacker of attackers) yield* attacker.send(unfinished)
            const grown = yield* Effect.repeat(
              Effect.map(victim.memory, (used) => used - before),
              { until: (grown) => grown > 0.95 * count * most }
            )
            yield* report("unfinished messages", { sessions: count, "bytes a session": grown / count })
            expect((yield* victim.condition).sessions).toBe(count)
            expect(grown).toBeLessThan(count * (most + 256 * 1024) + slack)
          }))
      }),
    patience
  )
})
