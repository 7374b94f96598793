import { describe, expect, it } from "@effect/vitest"
import { WindowTuner } from "../../../../src/internal/recv/windowTuner.js"

/** A tuner, a clock that the test sets, and the pings that wait for an answer. */
const makeTuner = ({ budget = 1000, maxWindow = 1000 }: { budget?: number; maxWindow?: number } = {}) => {
  const time = { now: 0 }
  const pings: Array<() => void> = []
  const tuner = new WindowTuner({
    maxWindow,
    budget,
    ping: (answered) => pings.push(answered),
    now: () => time.now
  })
  /** The network takes so many milliseconds there and back. */
  const roundTrip = (millis: number) => {
    time.now += 10_000
    tuner.measure()
    time.now += millis
    pings.shift()!()
  }
  return { tuner, time, pings, roundTrip }
}

describe("a window tuner", () => {
  it("tells the time that it goes by", () => {
    const { time, tuner } = makeTuner()
    time.now = 42
    expect(tuner.now()).toBe(42)
  })

  it("lets nothing grow before it knows the network", () => {
    const { tuner } = makeTuner()
    expect(tuner.growth(100, 50, 0)).toBe(0)
  })

  it("doubles a window that is read within two round trips, and no slower one", () => {
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

  it("takes a window at once to what another one has needed", () => {
    const { roundTrip, tuner } = makeTuner()
    roundTrip(40)
    expect([tuner.growth(200, 200, 1), tuner.growth(1, 1, 1), tuner.growth(300, 150, 1)]).toEqual([200, 399, 300])
  })

  it("stops at the largest window", () => {
    const { roundTrip, tuner } = makeTuner({ maxWindow: 150 })
    roundTrip(40)
    expect([tuner.growth(100, 50, 1), tuner.growth(150, 75, 1), tuner.growth(200, 100, 1)]).toEqual([50, 0, 0])
  })

  it("stops where the budget ends, until a stream that had grown is over", () => {
    const { roundTrip, tuner } = makeTuner({ budget: 130 })
    roundTrip(40)
    expect([tuner.growth(100, 50, 1), tuner.growth(100, 50, 1), tuner.growth(100, 50, 1)]).toEqual([100, 30, 0])
    tuner.release(100)
    expect(tuner.growth(100, 50, 1)).toBe(100)
  })

  it("believes the least of the last eight round trips", () => {
    const { roundTrip, tuner } = makeTuner({ budget: 10_000 })
    roundTrip(10)
    for (let i = 0; i < 7; i++) roundTrip(1000)
    expect(tuner.growth(10, 10, 21)).toBe(0)
    roundTrip(1000)
    expect(tuner.growth(10, 10, 21)).toBe(10)
  })

  it("asks once a second at most, and not while it waits for an answer", () => {
    const { pings, time, tuner } = makeTuner()
    tuner.measure()
    time.now = 5000
    tuner.measure()
    tuner.growth(1, 1, 1)
    expect(pings.length).toBe(1)
    pings.shift()!()
    tuner.measure()
    expect(pings.length).toBe(1)
    pings.shift()!()
    time.now = 5999
    tuner.measure()
    expect(pings.length).toBe(0)
    time.now = 6000
    tuner.growth(1, 1, 1)
    expect(pings.length).toBe(1)
  })
})
