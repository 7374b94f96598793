import { describe, expect, it } from "@effect/vitest"
import { RttEstimator } from "../../../../src/internal/time/rtt.js"

/** An estimator, a clock that the test sets, and the pings that wait for an answer. */
const makeEstimator = () => {
  const time = { now: 0 }
  const pings: Array<() => void> = []
  const rtt = new RttEstimator({ ping: (answered) => pings.push(answered), now: () => time.now })
  const samples: Array<readonly [millis: number, isRenewed: boolean]> = []
  rtt.onSample = (millis, isRenewed) => samples.push([millis, isRenewed])
  return { rtt, time, pings, samples }
}

describe("RttEstimator", () => {
  it("RttEstimator has no latest sample and an infinite minimum before the first sample", () => {
    const { rtt, time } = makeEstimator()
    time.now = 42
    expect([rtt.latest, rtt.minimum, rtt.now()]).toEqual([undefined, Infinity, 42])
  })

  it("RttEstimator measures each ping from its sending to its answer", () => {
    const { pings, rtt, samples, time } = makeEstimator()
    const heard: Array<number> = []
    rtt.ping((millis) => heard.push(millis))
    time.now = 10
    rtt.probe((millis) => heard.push(millis))
    time.now = 30
    for (const answered of pings) answered()
    expect([heard, rtt.latest, rtt.minimum]).toEqual([[30, 20], 20, 20])
    expect(samples).toEqual([[30, true], [20, false]])
  })

  it("RttEstimator forgets a minimum 10 s after the first sample that it was not renewed by", () => {
    const { rtt, samples, time } = makeEstimator()
    rtt.record(10)
    const minimum = (at: number, millis: number) => {
      time.now = at
      rtt.record(millis)
      return rtt.minimum
    }
    expect([minimum(9999, 50), minimum(10_000, 50), minimum(19_999, 40), minimum(20_000, 60), minimum(30_000, 70)])
      .toEqual([10, 10, 10, 40, 60])
    expect(samples.map(([, isRenewed]) => isRenewed)).toEqual([true, false, true, false, true, true])
  })

  it("RttEstimator refreshes once a second at most, counting the pings of others", () => {
    const { pings, rtt, time } = makeEstimator()
    const refreshed = (at: number) => {
      time.now = at
      const before = pings.length
      rtt.refresh()
      return pings.length - before
    }
    expect(refreshed(0)).toBe(1)
    pings[0]!()
    expect([refreshed(999), refreshed(1000)]).toEqual([0, 1])
    pings[1]!()
    rtt.ping()
    pings[2]!()
    expect([refreshed(1999), refreshed(2000)]).toEqual([0, 1])
  })

  it("RttEstimator does not refresh while a ping is unanswered", () => {
    const { pings, rtt, time } = makeEstimator()
    rtt.ping()
    rtt.ping()
    time.now = 60_000
    rtt.refresh()
    pings[0]!()
    rtt.refresh()
    expect(pings.length).toBe(2)
    pings[1]!()
    rtt.refresh()
    expect(pings.length).toBe(3)
  })

  it("RttEstimator takes an answer for the answer to all pings before it", () => {
    const { pings, rtt, time } = makeEstimator()
    rtt.ping()
    rtt.ping()
    pings[1]!()
    time.now = 1000
    rtt.refresh()
    expect(pings.length).toBe(3)
  })

  it("RttEstimator probes in vain, and pings with an error, when the transport throws", () => {
    const rtt = new RttEstimator({
      ping: () => {
        throw new Error("closed")
      },
      now: () => 0
    })
    rtt.probe()
    expect(() => rtt.ping()).toThrow("closed")
  })
})
