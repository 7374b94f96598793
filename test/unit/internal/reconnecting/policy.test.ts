import { describe, expect, it } from "@effect/vitest"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import { ConnectFailure, SessionClosed, TransportFailure, WrongParity } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Intervals from "effect/ScheduleIntervals"

describe("isHopeless", () => {
  const rejected = (status: number) => new ConnectFailure({ url: "ws://a", reason: "Rejected", status })
  const closed = (code: number, by: "peer" | "local" = "peer") => new SessionClosed({ by, code, reason: "" })
  const permanent = [200, 301, 400, 401, 403, 404, 407, 410, 426]
  const passing = [408, 425, 429, 500, 502, 503]

  it("isHopeless holds for statuses that repeat, and after a first session for 401, 403 and 407", () => {
    const hopeless = (hasConnected: boolean) =>
      [...permanent, ...passing].filter((status) => ReconnectingSession.isHopeless(rejected(status), hasConnected))
    expect(hopeless(false)).toEqual(permanent)
    expect(hopeless(true)).toEqual([401, 403, 407])
  })

  it("isHopeless holds for the peer's close codes that refuse, and for 4000 + such a status", () => {
    const codes = [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4008]
    const mirrored = [4400, 4401, 4403, 4404, 4408, 4429, 4499, 4500, 4503]
    const hopeless = [...codes, ...mirrored].filter((code) => ReconnectingSession.isHopeless(closed(code), true))
    expect(hopeless).toEqual([1003, 1008, 1010, 4400, 4401, 4403, 4404, 4499])
    expect(ReconnectingSession.isHopeless(closed(1008, "local"), true)).toBe(false)
  })

  it("isHopeless holds for an invalid URL and equal roles, and not for network failures", () => {
    const failures = [
      new ConnectFailure({ url: "a", reason: "InvalidUrl" }),
      new WrongParity({ streamId: 1, role: "client" }),
      new ConnectFailure({ url: "ws://a", reason: "Unreachable" }),
      new ConnectFailure({ url: "ws://a", reason: "Timeout" }),
      new TransportFailure({ code: 1006, reason: "" }),
      new Error("an error of the program")
    ]
    expect(failures.map((failure) => ReconnectingSession.isHopeless(failure, false)))
      .toEqual([true, true, false, false, false, false])
  })
})

describe("defaultSchedule", () => {
  it.effect("defaultSchedule waits a random part of 0.5 s, doubled per attempt up to 30 s", () =>
    Effect.gen(function*() {
      const delays = Array.from({ length: 9 }, (): Array<number> => [])
      for (let run = 0; run < 200; run++) {
        let state: unknown = ReconnectingSession.defaultSchedule.initial
        for (const waits of delays) {
          const [next, , decision] = yield* ReconnectingSession.defaultSchedule.step(0, undefined, state)
          state = next
          waits.push(decision._tag === "Continue" ? Intervals.start(decision.intervals) : Number.NaN)
        }
      }
      for (const [attempt, waits] of delays.entries()) {
        const longest = Math.min(500 * 2 ** attempt, 30_000)
        expect(Math.min(...waits)).toBeLessThan(longest * 0.2)
        expect(Math.max(...waits)).toBeGreaterThan(longest * 0.8)
        expect(Math.max(...waits)).toBeLessThanOrEqual(longest)
      }
    }))
})
