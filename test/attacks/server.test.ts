import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { syn } from "../support/scriptedPeer.js"
import { connect, forIds } from "./attacker.js"
import { attacking, full, makeVictim, mebibyte, patience, perHandler, perSession, report, slack } from "./support.js"

/** The heap in which a server with default settings must survive any number of sessions with strangers. */
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
            yield* attacker.send(forIds(5000, (id) => [syn(id)]))
            yield* attacker.answered
          }
          const { sessions, streams } = yield* victim.condition
          const grown = (yield* victim.memory) - before
          yield* report("sessions that open all they can", { sessions, streams, "bytes in all": grown })
          expect(sessions).toBe(count)
          expect(streams).toBeLessThanOrEqual(8192)
          expect(streams).toBeGreaterThan(8192 - 2 * count)
          expect(grown).toBeLessThan(8192 * perHandler.stream + count * perSession + slack)
          expect(grown).toBeLessThan(512 * mebibyte)
        }))
    }), patience)
})
