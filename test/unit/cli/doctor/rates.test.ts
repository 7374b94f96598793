import { describe, expect, it } from "@effect/vitest"
import { Meter } from "effect-wsmux/cli/doctor/rates"

describe("Meter", () => {
  /** A measurement of bytes that come at those times. Returns its rate, and after how many of them it was over. */
  const measured = (arrivals: ReadonlyArray<readonly [at: number, bytes: number]>) => {
    let now = 100
    const meter = new Meter(() => now)
    const end = arrivals.findIndex(([at, bytes]) => {
      now = 100 + at
      return meter.add(bytes)
    })
    return [Number(meter.rate.toFixed(1)), end + 1]
  }
  const mb = 1_000_000

  it("Meter tells the rate of all bytes when a measurement ends within the warm-up", () => {
    expect(measured([[100, 20 * mb], [200, 20 * mb], [400, 20 * mb], [500, mb]])).toEqual([125.8, 3])
  })

  it("Meter tells the rate after the warm-up when the way needed it to become fast", () => {
    expect(measured([[500, mb / 2], [1000, mb / 2], [1500, 10 * mb], [2000, 10 * mb], [2001, mb]])).toEqual([20, 4])
  })

  it("Meter tells the rate of all bytes when a burst comes in a short time after the warm-up", () => {
    expect(measured([[500, mb], [1999, mb], [2000, 10 * mb]])).toEqual([6, 3])
  })

  it("Meter tells the rate of all bytes when the way became slower after the warm-up", () => {
    expect(measured([[500, 10 * mb], [1000, 10 * mb], [2000, mb]])).toEqual([10.5, 3])
  })
})
