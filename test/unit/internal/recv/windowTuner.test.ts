import { describe, expect, it } from "@effect/vitest"
import { WindowTuner } from "../../../../src/internal/recv/windowTuner.js"
import { RttEstimator } from "../../../../src/internal/time/rtt.js"

/** A tuner, a clock that the test sets, and the unanswered pings. `roundTrip` adds a sample. */
const makeTuner = ({ budget = 1000, maxWindow = 1000 }: { budget?: number; maxWindow?: number } = {}) => {
  const time = { now: 0 }
  const pings: Array<() => void> = []
  const rtt = new RttEstimator({ ping: (answered) => pings.push(answered), now: () => time.now })
  const tuner = new WindowTuner({ maxWindow, budget, rtt })
  const roundTrip = (millis: number) => rtt.record(millis)
  return { tuner, time, pings, roundTrip }
}

describe("WindowTuner", () => {
  it("WindowTuner.now returns the time of its estimator", () => {
    const { time, tuner } = makeTuner()
    time.now = 42
    expect(tuner.now()).toBe(42)
  })

  it("WindowTuner grows no window before the first RTT sample", () => {
    const { tuner } = makeTuner()
    expect(tuner.growth(100, 50, 0)).toBe(0)
  })

  it("WindowTuner doubles a window when it is read within two round trips", () => {
    const { roundTrip, tuner } = makeTuner()
    roundTrip(40)
    expect([
      tuner.growth(100, 100, 80),
      tuner.growth(100, 100, 81),
      tuner.growth(10, 5, 40),
      tuner.growth(10, 5, 41),
      tuner.growth(10, 1, 8)
    ]).toEqual([100, 0, 190, 0, 190])
  })

  it("WindowTuner grows a window at once to the size that another window has reached", () => {
    const { roundTrip, tuner } = makeTuner()
    roundTrip(40)
    expect([tuner.growth(200, 200, 1), tuner.growth(1, 1, 1), tuner.growth(300, 150, 1)]).toEqual([200, 399, 300])
  })

  it("WindowTuner stops growing at maxWindow", () => {
    const { roundTrip, tuner } = makeTuner({ maxWindow: 150 })
    roundTrip(40)
    expect([tuner.growth(100, 50, 1), tuner.growth(150, 75, 1), tuner.growth(200, 100, 1)]).toEqual([50, 0, 0])
  })

  it("WindowTuner stops growing when the budget is spent, until it is released", () => {
    const { roundTrip, tuner } = makeTuner({ budget: 130 })
    roundTrip(40)
    expect([tuner.growth(100, 50, 1), tuner.growth(100, 50, 1), tuner.growth(100, 50, 1)]).toEqual([100, 30, 0])
    tuner.release(100)
    expect(tuner.growth(100, 50, 1)).toBe(100)
  })

  it("WindowTuner judges a window by the minimum RTT", () => {
    const { roundTrip, time, tuner } = makeTuner({ budget: 10_000 })
    roundTrip(10)
    time.now = 19_999
    roundTrip(1000)
    expect(tuner.growth(10, 10, 21)).toBe(0)
    time.now = 29_999
    roundTrip(1000)
    expect(tuner.growth(10, 10, 21)).toBe(10)
  })

  it("WindowTuner requests an RTT sample at most once a second when windows are read", () => {
    const { pings, time, tuner } = makeTuner()
    const pinged = (now: number) => {
      time.now = now
      tuner.growth(1, 1, 1)
      return pings.splice(0).map((answered) => answered()).length
    }
    expect([pinged(5000), pinged(5999), pinged(6000)]).toEqual([1, 0, 1])
  })
})
