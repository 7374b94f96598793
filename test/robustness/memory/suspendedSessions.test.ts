import { describe, expect, it } from "@effect/vitest"
import type * as ResumeServer from "effect-wsmux/ResumeServer"
import * as Effect from "effect/Effect"
import { buildProgram, Child } from "../../support/child.js"
import type { Condition, Question } from "./suspendedSessions.js"

/** A server in a process of its own, whose clients come and are lost. */
const makeServer = (options: ResumeServer.Options<string | undefined>) =>
  Effect.gen(function*() {
    const program = yield* Effect.promise(() => buildProgram(new URL("./suspendedSessions.ts", import.meta.url)))
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => new Child(program, [JSON.stringify(options)])),
      (child) => Effect.promise(() => child.stop())
    )
    return (question: Question) => Effect.promise(() => child.ask<Condition>(question))
  })

const bytes = ({ memory }: Condition) => memory.heap + memory.external

/** The first sessions compile the code and fill the pools that all sessions share. */
const first = 500

const most = 5000

describe.sequential("ResumeServer", { timeout: 300_000 }, () => {
  it.scopedLive("ResumeServer holds at most maxSuspended sessions, and nothing when their grace has passed", () =>
    Effect.gen(function*() {
      const ask = yield* makeServer({ maxSuspended: most, maxSuspendedPerPrincipal: 50 })
      yield* ask({ clients: first })
      const before = yield* ask("pass the grace")
      expect(before).toMatchObject({ suspended: 0, ended: { GraceExpired: first } })

      const full = yield* ask({ clients: most })
      expect(full).toMatchObject({ suspended: most, ended: { GraceExpired: first } })
      const each = Math.round((bytes(full) - bytes(before)) / most)

      const beyond = yield* ask({ clients: 300 })
      const limit = "Limit 5000 sessions are suspended"
      expect(beyond).toMatchObject({ suspended: most, ended: { GraceExpired: first, [limit]: 300 } })

      const ofOne = yield* ask({ clients: 80, principal: "Ann" })
      const limitOfOne = "Limit 50 sessions of one principal are suspended"
      expect(ofOne).toMatchObject({ suspended: most, ended: { [limit]: 350, [limitOfOne]: 30 } })

      const after = yield* ask("pass the grace")
      expect(after).toMatchObject({ suspended: 0, keptBytes: 0, ended: { GraceExpired: first + most } })
      const left = Math.round((bytes(after) - bytes(before)) / most)
      console.log(`a suspended session takes ${each} bytes, and leaves ${left} when its grace has passed`)
      expect(each).toBeLessThan(56 * 1024)
      expect(left).toBeLessThan(1500)
    }))

  it.scopedLive("ResumeServer keeps at most maxKeptBytesInAll when 2,000 clients are lost", () =>
    Effect.gen(function*() {
      const clients = 2000
      const maxKeptBytesInAll = 128 * 1024
      const ask = yield* makeServer({ maxSuspended: clients, maxKeptBytesInAll })
      const { ended, keptBytes, suspended } = yield* ask({ clients })
      const limit = `Limit ${maxKeptBytesInAll} bytes of all sessions are kept`
      expect(ended).toEqual({ [limit]: clients - suspended })
      expect(keptBytes).toBeLessThanOrEqual(maxKeptBytesInAll)
      expect(keptBytes).toBeGreaterThan(maxKeptBytesInAll / 2)
    }))
})
