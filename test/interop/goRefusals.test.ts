import { expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import { describeGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"
import { expectNoFaults } from "./traffic.js"

/** What becomes of so many opens at once, in words. */
const openAll = (session: Session, count: number) =>
  Effect.forEach(
    Array.from({ length: count }),
    () => Effect.scoped(Effect.match(session.open(), { onSuccess: () => "Opened", onFailure: ({ _tag }) => _tag })),
    { concurrency: "unbounded" }
  )

for (const [who, connect] of [["we dialled", dialGo], ["Go dialled", listenForGo]] as const) {
  describeGo(`opens and refusals, where ${who}`, () => {
    it.scopedLive("a session hears only of silence when its opens overflow the backlog of Go", () =>
      Effect.gen(function*() {
        const options = { maxUnacknowledgedOpens: 500, keepAliveInterval: "400 millis" } as const
        const { session } = yield* connect(options, { serve: "none" })
        expect(new Set(yield* openAll(session, 400))).toEqual(new Set(["KeepAliveExpired"]))
      }))

    it.scopedLive("a session lives when Go accepts none of 400 opens, as few are unanswered at once", () =>
      Effect.gen(function*() {
        // three intervals: Go answers pings, so it still reads
        const options = { streamAcceptDeadline: "3 seconds", keepAliveInterval: "1 second" } as const
        const { session } = yield* connect(options, { serve: "none" })
        expect(new Set(yield* openAll(session, 400))).toEqual(new Set(["AcceptTimeout"]))
        expect((yield* session.snapshot).unacknowledgedOpens).toBe(100)
        yield* expectNoFaults(session)
      }))

    it.scopedLive("a session opens 400 streams at once when Go accepts", () =>
      Effect.gen(function*() {
        const { session } = yield* connect({}, { serve: "echo" })
        expect(new Set(yield* openAll(session, 400))).toEqual(new Set(["Opened"]))
        yield* expectNoFaults(session)
      }))

    it.scopedLive("an open of Go waits for its whole deadline when the session refused it", () =>
      Effect.gen(function*() {
        const flags = { open: "echo", streams: 3, "accept-deadline": "700ms" } as const
        const { go, session } = yield* connect({ acceptBacklog: 1 }, flags)
        const { errors, seconds } = yield* go.next("result")
        expect(errors.filter((error) => error.endsWith("open: accept timed out")).length).toBe(3)
        expect(seconds).toBeGreaterThanOrEqual(0.7)
        expect((yield* session.snapshot).counters.refused).toBe(2)
      }))
  }, { sequential: true })
}
