import { describe, expect, it } from "@effect/vitest"
import { element, measureCalls, roundTrip } from "../../support/slowCalls.js"

/** 50 MB take 250 s of the link's time. The short form takes 6 s. */
const elements = process.env["WSMUX_RPC"] === "full" ? 200 : 4

describe("MuxRpc over a link of 200 KB/s", () => {
  // A call takes one round trip to open its stream and another one for the answer, each behind the bytes in flight.
  it("MuxRpc answers 99 % of small calls in 7 round trips when a large answer fills the link", () => {
    const { count, ...result } = measureCalls("muxRpc", elements)
    expect(result).toMatchObject({ size: elements * element, isLost: false, answered: count })
    expect(result.p99).toBeLessThan(7 * roundTrip)
  })

  it("RpcClient over one socket takes 12 round trips when a large answer fills the link", () => {
    expect(measureCalls("oneSocket", elements).p99).toBeGreaterThan(12 * roundTrip)
  })
})
