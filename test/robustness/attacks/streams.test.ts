import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Frame from "../../../src/internal/wire/frame.js"
import { ack, dat, fin, syn } from "../../support/scriptedPeer.js"
import { connect, forIds } from "./attacker.js"
import { attacking, full, isFull, makeVictim, mebibyte, patience, perHandler, report, slack } from "./support.js"

describe.sequential("a server with many opens", () => {
  it.scopedLive(
    "server holds its backlog and no more when no handler accepts the streams of a flood",
    () =>
      Effect.gen(function*() {
        const count = full(1_000_000, 20_000)
        const victim = yield* makeVictim({ settings: { acceptBacklog: 2000 } })
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/unaccepted" })
            for (let from = 0; from < count; from += 10_000) {
              yield* attacker.send(forIds(10_000, (id) => [syn(id)], from))
              yield* attacker.answered
            }
            const { backlog, counters, sessions, streams } = yield* victim.condition
            expect({ backlog, refused: counters.refused, sessions, streams }).toEqual({
              backlog: 2000,
              refused: count - 2000,
              sessions: 1,
              streams: 2000
            })
            const grown = (yield* victim.memory) - before
            yield* report("a flood of SYNs without an acceptor", { SYNs: count, streams, "bytes in all": grown })
            expect(grown).toBeLessThan(slack)
          }))
      }),
    patience
  )

  it.scopedLive(
    "server holds maxStreams streams at a bounded cost each when no handler returns",
    () =>
      Effect.gen(function*() {
        const count = full(100_000, 20_000)
        const victim = yield* makeVictim({ settings: { maxStreams: 2000 } })
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            // the backlog holds 100 streams
            for (let from = 0; from < count; from += 100) {
              yield* attacker.send(forIds(100, (id) => [syn(id)], from))
              yield* attacker.answered
            }
            const { counters, sessions, streams } = yield* victim.condition
            expect([sessions, streams, counters.accepted, counters.refused]).toEqual([
              1,
              2000,
              2000,
              count - 2000
            ])
            const each = ((yield* victim.memory) - before) / streams
            yield* report("a flood of SYNs that are accepted", { SYNs: count, streams, "bytes a stream": each })
            expect(each).toBeLessThan(perHandler.plain)
          }))
      }),
    patience
  )

  it.scopedLive(
    "server ends the session and holds nothing when a peer opens and reads no answer",
    () =>
      Effect.gen(function*() {
        const rounds = full(100, 3)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            let after = 0 // the code that the first round compiles stays
            for (let round = 1; round <= rounds; round++) {
              const attacker = yield* connect(victim.port, { path: "/unaccepted", reading: false })
              // the attacker's receive buffer and the victim's send buffer take many answers before one waits
              const batch = forIds(20_000, (id) => [syn(id), fin(id)])
              while ((yield* victim.condition).ended.PeerFlood !== round) yield* attacker.push(batch)
              yield* attacker.setReading(true)
              yield* attacker.closed
              if (round === 1) {
                after = yield* Effect.zipRight(victim.until(({ sessions }) => sessions === 0), victim.memory)
              }
            }
            const { sessions, streams } = yield* victim.until(({ sessions }) => sessions === 0)
            const now = yield* victim.memory
            const grown = now - after
            yield* report("SYNs and FINs of a peer that does not read", { sessions: rounds, "bytes left": grown })
            expect([sessions, streams]).toEqual([0, 0])
            expect(grown).toBeLessThan(slack)
            if (!isFull) expect(now - before).toBeLessThan(slack) // in a hundred rounds the engine compiles more
          }))
      }),
    patience
  )

  it.scopedLive(
    "server holds nothing when a peer opens and ends streams at once, again and again",
    () =>
      Effect.gen(function*() {
        const count = full(1_000_000, 50_000)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/echo" })
            for (let from = 0; from < count; from += 5000) {
              yield* attacker.send(forIds(5000, (id) => [syn(id), fin(id)], from))
              yield* attacker.answered
            }
            const { sessions } = yield* victim.until(({ streams }) => streams === 0)
            const grown = (yield* victim.memory) - before
            yield* report("SYN and FIN at once", { times: count, "bytes left": grown })
            expect(sessions).toBe(1)
            expect(grown).toBeLessThan(slack)
          }))
      }),
    patience
  )

  it.scopedLive(
    "server holds at most maxSessionBufferSize when a peer fills the window of each stream",
    () =>
      Effect.gen(function*() {
        const [window, most] = [256 * 1024, 16 * mebibyte]
        const count = full(4000, 150)
        const victim = yield* makeVictim({ settings: { streamBufferSize: window, maxSessionBufferSize: most } })
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            const payload = new Uint8Array(64 * 1024)
            for (let from = 0; from < count; from += 50) {
              yield* attacker.send(forIds(50, (id) => [syn(id)], from))
              yield* attacker.answered
            }
            for (let i = 0; i < count; i++) {
              const id = 2 * i + 1
              for (let sent = 0; sent < window; sent += payload.byteLength) {
                yield* attacker.send(forIds(1, () => [dat(id, payload)], i))
              }
            }
            yield* attacker.answered
            const { buffered, reach, sessions, streams } = yield* victim.condition
            const grown = (yield* victim.memory) - before
            const name = "all windows of a session full"
            yield* report(name, { streams, "bytes buffered": buffered, "bytes in all": grown })
            expect([sessions, streams]).toEqual([1, count])
            expect(buffered).toBeGreaterThan(most / 2)
            expect(reach).toBeLessThanOrEqual(most)
            expect(grown).toBeLessThan(most + slack + count * perHandler.plain)
          }))
      }),
    patience
  )
})

describe.sequential("a server that sends", () => {
  it.scopedLive(
    "server queues at most highWaterMark when a peer opens streams and never reads",
    () =>
      Effect.gen(function*() {
        const count = full(10_000, 150)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/source", reading: false })
            for (let from = 0; from < count; from += 150) {
              yield* attacker.send(forIds(150, (id) => [syn(id), ack(id, Frame.maxUint32)], from))
              yield* victim.until(({ counters }) => counters.accepted >= Math.min(from + 150, count))
            }
            const { sessions, streams } = yield* victim.condition
            const grown = (yield* victim.memory) - before
            yield* report("a peer that opens and never reads", { streams, "bytes in all": grown })
            expect(sessions).toBe(1)
            expect(grown).toBeLessThan(slack + streams * perHandler.stream)
          }))
      }),
    patience
  )

  it.scopedLive("server queues nothing when a peer reads and never returns credit", () =>
    Effect.gen(function*() {
      const count = full(10_000, 1000)
      const victim = yield* makeVictim()
      yield* attacking(victim, (before) =>
        Effect.gen(function*() {
          const attacker = yield* connect(victim.port, { path: "/source" })
          for (let from = 0; from < count; from += 100) {
            yield* attacker.send(forIds(100, (id) => [syn(id)], from))
            yield* attacker.answered
          }
          const { sessions, streams } = yield* victim.condition
          const each = ((yield* victim.memory) - before) / streams
          yield* report("a peer that reads and never ACKs", { streams, "bytes a stream": each })
          expect([sessions, streams]).toEqual([1, count])
          expect(each).toBeLessThan(perHandler.stream)
        }))
    }), patience)

  it.scopedLive(
    "server caps the credit at 2^32-1 when a peer returns more, again and again",
    () =>
      Effect.gen(function*() {
        const count = full(10_000_000, 200_000)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            yield* attacker.send(forIds(100, (id) => [syn(id)]))
            yield* attacker.answered
            const batch = forIds(10_000, (id) => [ack((id % 200) | 1, Frame.maxUint32)])
            for (let sent = 0; sent < count; sent += 10_000) yield* attacker.send(batch)
            yield* attacker.answered
            const { counters, sessions, streams } = yield* victim.condition
            const grown = (yield* victim.memory) - before
            yield* report("ACK storms", { ACKs: count, clamped: counters.creditOverflows, "bytes in all": grown })
            expect([sessions, streams]).toEqual([1, 100])
            expect(counters.creditOverflows).toBe(count) // an accepted stream has credit from the start
            expect(grown).toBeLessThan(slack)
          }))
      }),
    patience
  )
})
