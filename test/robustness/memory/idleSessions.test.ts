import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Memory } from "../../support/answering.js"
import { buildProgram, Child } from "../../support/child.js"
import type { Question } from "./idleSessions.js"

/** The first sessions compile the code and fill the pools that all sessions share. */
const first = 100
const sessions = 200
const rounds = 3

/** The bytes that each end of a session takes, in a process of its own. */
const perEnd = (program: string, resume: "on" | "off") =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => new Child(program, [resume])),
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
      taken.push((now - before) / sessions / 2)
      before = now
    }
    return taken.sort((a, b) => a - b)[(rounds - 1) / 2]!
  }).pipe(Effect.scoped)

describe.sequential("ResumableTransport", () => {
  it.live("ResumableTransport takes at most 4 KiB for each end of an idle session", () =>
    Effect.gen(function*() {
      const program = yield* Effect.promise(() => buildProgram(new URL("./idleSessions.ts", import.meta.url)))
      const off = yield* perEnd(program, "off")
      const on = yield* perEnd(program, "on")
      const more = Math.round(on - off)
      console.log(`an idle end of a session takes ${Math.round(off)} bytes, and ${more} more where it can be resumed`)
      expect(more).toBeLessThanOrEqual(4096)
    }))
})
