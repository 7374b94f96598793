import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { buildInOneFile, Child } from "../../support/child.js"
import type { Question, State } from "./leaker.js"

/** `WSMUX_LEAKS=full` for a hundred thousand streams and a thousand sessions. */
const isFull = process.env.WSMUX_LEAKS === "full"
const counts = isFull ? { streams: 100_000, sessions: 1000 } : { streams: 10_000, sessions: 200 }

/** Bytes that rise and fall, and bytes for each further stream or session: fewer than the smallest leak. */
const slack = 3e6
const perPiece = { streams: 30, sessions: 1000 }

const built = buildInOneFile(new URL("./leaker.ts", import.meta.url))

describe.sequential("a process whose streams and sessions have ended", () => {
  for (const transport of ["memory", "ws"] as const) {
    for (const kind of ["streams", "sessions"] as const) {
      it.scopedLive(
        `process holds nothing of ${kind} over ${transport} when they have ended in every way`,
        () =>
          Effect.gen(function*() {
            const program = yield* Effect.promise(() => built)
            const child = yield* Effect.acquireRelease(
              Effect.sync(() => new Child(program)),
              (child) => Effect.promise(() => child.stop())
            )
            const count = counts[kind]
            const after = (count: number) =>
              Effect.promise(() => child.ask<State>({ kind, transport, count } satisfies Question))
            const before = yield* after(count / 10)
            const now = yield* after(count)
            const grown = now.memory - before.memory
            console.log(
              `${count} ${kind} over ${transport}: ${grown} bytes more, of ${before.memory}; ` +
                `${now.timers} timers, ${now.handles} handles, ${now.listeners} listeners, ${now.fibers} fibers`
            )
            const lasting = ({ fibers, handles, listeners }: State) => ({ fibers, handles, listeners })
            expect(lasting(now)).toEqual(lasting(before))
            expect(now.streams).toBe(0)
            expect(now.timers).toBeLessThan(before.timers + 10) // Node and Effect have timers of their own
            expect(grown).toBeLessThan(slack + count * perPiece[kind])
          }),
        isFull ? 1_200_000 : 180_000
      )
    }
  }
})
