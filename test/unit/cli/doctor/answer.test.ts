import { describe, expect, it } from "@effect/vitest"
import { judgeClock } from "../../../../src/cli/doctor/answer.js"
import { roundTripFinding } from "../../../../src/cli/doctor/peer.js"
import { judgeBuffering } from "../../../../src/cli/doctor/rates.js"

/** A time of this machine without a fraction of a second. */
const noon = 1_700_000_000_000

describe("judgeClock", () => {
  const cases: ReadonlyArray<readonly [what: string, date: number, verdict: string, detail: string]> = [
    ["the second of the date lies between question and answer", noon, "ok", "the clocks agree to the second"],
    ["the date is ten seconds ahead", noon + 10_000, "ok", "the clock of the server is 10 s ahead"],
    ["the date is an hour behind", noon - 3_600_000, "warn", "the clock of the server is 3599 s behind"],
    ["the date is an hour ahead", noon + 3_600_000, "warn", "the clock of the server is 3600 s ahead"]
  ]
  for (const [what, date, verdict, detail] of cases) {
    it(`judgeClock finds ${verdict} when ${what}`, () => {
      expect(judgeClock(date, noon + 100, noon + 200)).toMatchObject({ verdict, detail })
    })
  }
})

describe("roundTripFinding", () => {
  it("roundTripFinding warns of a proxy when a ping takes much longer than TCP", () => {
    expect(roundTripFinding([2000, 2001, 2002], 1)).toEqual({
      check: "round trip",
      verdict: "warn",
      detail: "2001 ms, the median of 3 pings; at most 2002 ms, where TCP connects in 1.0 ms",
      advice: "a proxy on the way holds bytes back, or is far from the server: turn off its buffers and scanners"
    })
    expect(roundTripFinding([400], 1)).toEqual({
      check: "round trip",
      verdict: "ok",
      detail: "400 ms, of one ping; at most 400 ms"
    })
    expect(roundTripFinding([2000], 700).verdict).toBe("ok")
    expect(roundTripFinding([], 1).verdict).toBe("warn")
  })
})

describe("judgeBuffering", () => {
  it("judgeBuffering warns when small messages take much longer than a ping", () => {
    expect(judgeBuffering(5, 45, 12).verdict).toBe("warn")
    expect(judgeBuffering(5, 35, 12).verdict).toBe("ok")
    expect(judgeBuffering(200, 400, 500).verdict).toBe("ok")
  })
})
