import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { syn } from "../../support/scriptedPeer.js"
import { connect, forIds, frame } from "./attacker.js"
import { attacking, full, makeVictim, mebibyte, patience, perHandler, perSession, report, slack } from "./support.js"

/** The heap in which a server with default settings must survive any number of sessions. */
const smallHeap = ["--max-old-space-size=512"]

describe.sequential("a server with default settings in a heap of 512 MiB", () => {
  it.scopedLive("server survives sessions that open all the streams that they can", () =>
    Effect.gen(function*() {
      const count = full(1900, 40)
      const victim = yield* makeVictim({}, smallHeap)
      yield* attacking(victim, (before) =>
        Effect.gen(function*() {
          for (let i = 0; i < count; i++) {
            const attacker = yield* connect(victim.port, { path: "/echo" })
            // the first sessions open all streams that the process may have
            yield* attacker.send(forIds(i < 10 ? 5000 : 50, (id) => [syn(id)]))
            yield* attacker.answered
          }
          const { sessions, streams } = yield* victim.condition
          const grown = (yield* victim.memory) - before
          yield* report("sessions that open all they can", { sessions, streams, "bytes in all": grown })
          expect(sessions).toBe(count)
          const most = 6000 + 2 * count // each session may have two streams beyond the limit
          expect(streams).toBeLessThanOrEqual(most)
          expect(streams).toBeGreaterThan(6000 - 2 * count)
          expect(grown).toBeLessThan(most * perHandler.stream + count * perSession + slack)
          expect(grown).toBeLessThan(512 * mebibyte)
        }))
    }), patience)

  it.scopedLive(
    "server survives sessions that begin messages of 4 MiB and do not end them",
    () =>
      Effect.gen(function*() {
        const count = full(1900, 100)
        const victim = yield* makeVictim({}, smallHeap)
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const message = frame(0x2, new Uint8Array(4 * mebibyte))
            const piece = message.subarray(0, 2 * mebibyte)
            for (let i = 0; i < count; i++) {
              const attacker = yield* connect(victim.port, { path: "/ignore" })
              yield* attacker.send(piece)
            }
            // beyond 128 KiB a session, half of 64 MiB belongs to the first sessions that ask
            const { sessions } = yield* victim.until(({ sessions }) => sessions < Math.min(count, 80))
            const grown = (yield* victim.memory) - before
            yield* report("sessions with unfinished messages", { count, sessions, "bytes in all": grown })
            expect(sessions).toBeLessThan(count)
            expect(grown).toBeLessThan(64 * mebibyte + sessions * perSession + slack)
          }))
      }),
    patience
  )
})
