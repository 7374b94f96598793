import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Memory } from "../../support/answering.js"
import { buildProgram, Child } from "../../support/child.js"
import type { Question } from "./idleSessions.js"

/** The first sessions compile the code and fill the pools that all sessions share. */
const first = 100
const sessions = 200
const rounds = 3

/** The bytes that a session takes, with both ends or the accepting end alone, in a process of its own. */
const perSession = (program: string, ends: "both" | "accepting", resume: "on" | "off") =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => new Child(program, [resume, ends])),
      (child) => Effect.promise(() => child.stop())
    )
    const after = (sessions: number) =>
      Effect.map(
        Effect.promise(() => child.ask<Memory>({ sessions } satisfies Question)),
        ({ external, heap }) => heap + external
      )
    let before = yield* after(first)
    const taken: Array<number> = []
    for (let round = 0; round < rounds; round++) {
      const now = yield* after(sessions)
      taken.push((now - before) / sessions)
      before = now
    }
    return taken.sort((a, b) => a - b)[(rounds - 1) / 2]!
  }).pipe(Effect.scoped)

describe.sequential("ResumableTransport", () => {
  it.live("ResumableTransport takes at most 4 KiB for each end of an idle session", () =>
    Effect.gen(function*() {
      const program = yield* Effect.promise(() => buildProgram(new URL("./idleSessions.ts", import.meta.url)))
      const more = (ends: "both" | "accepting") =>
        Effect.zipWith(
          perSession(program, ends, "on"),
          perSession(program, ends, "off"),
          (on, off) => Math.round(on - off)
        )
      const both = yield* more("both")
      const accepting = yield* more("accepting")
      const dialling = both - accepting
      console.log(`resume takes ${accepting} bytes more of an idle accepting end, ${dialling} of a dialling end`)
      expect(accepting).toBeLessThanOrEqual(4096)
      expect(dialling).toBeLessThanOrEqual(4096)
    }))
})
