import { describe, expect, it } from "@effect/vitest"
import { tell } from "effect-wsmux/cli/resumption"
import type { ResumptionState } from "effect-wsmux/ResumableTransport"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/TestClock"
import { settle } from "../../support/sessions.js"

const url = "ws://host/?secret"
const lost = "WARN lost the WebSocket to ws://host/?***; the connections wait while it is dialled again"
const failed = "WARN cannot connect to ws://host/?***: the server answered 502; the connections have waited for"

describe("Resumption", () => {
  it.scoped("tell logs a loss, the wait at growing intervals, and the end of the wait", () =>
    Effect.gen(function*() {
      const state = yield* SubscriptionRef.make<ResumptionState>({ _tag: "Connected", resumed: 0 })
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
      let last = undefined as ConnectFailure | undefined
      yield* tell({ changes: state.changes, url, grace: Duration.minutes(2), lastFailure: () => last }).pipe(
        Effect.forkScoped,
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      const change = (next: ResumptionState) => Effect.zipRight(SubscriptionRef.set(state, next), settle)
      const suspend = Effect.flatMap(Clock.currentTimeMillis, (since) =>
        change({ _tag: "Suspended", since, resumed: 0, keptBytes: 0, loss: { code: 1006, reason: "" } as never }))
      yield* settle
      yield* suspend
      expect(lines.splice(0)).toEqual([lost])
      yield* TestClock.adjust("5 seconds")
      last = new ConnectFailure({ url: "ws://host/?***", reason: "Rejected", status: 502 })
      yield* TestClock.adjust("70 seconds")
      expect(lines.splice(0)).toEqual([
        "WARN no WebSocket to ws://host/?***; the connections have waited for 5s, 1m 55s more at most",
        `${failed} 15s, 1m 45s more at most`,
        `${failed} 35s, 1m 25s more at most`,
        `${failed} 1m 15s, 45s more at most`
      ])
      yield* change({ _tag: "Connected", resumed: 1 })
      expect(lines.splice(0)).toEqual(["INFO resumed the connections through ws://host/?*** after 1m 15s"])
      yield* TestClock.adjust("10 minutes")
      yield* suspend
      yield* change({ _tag: "Ended" })
      yield* TestClock.adjust("10 minutes")
      expect(lines).toEqual([lost])
    }))
})
