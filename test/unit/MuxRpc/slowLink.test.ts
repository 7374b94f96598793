import { describe, expect, it } from "@effect/vitest"
import { element, measureCalls, roundTrip } from "../../support/slowCalls.js"

/** 50 MB take 250 s of the link, and up to a minute of this machine. The short form takes 6 s of the link. */
const elements = process.env["WSMUX_RPC"] === "full" ? 200 : 4

/** Runs the calls over a link, and prints the quantiles of the small ones. */
const measure = (name: string, protocol: Parameters<typeof measureCalls>[0]) => {
  const { count, ...result } = measureCalls(protocol, elements)
  console.log(`${name}, ${count} small calls: ${JSON.stringify(result)}`)
  expect(result).toMatchObject({ size: elements * element, isLost: false, answered: count })
  return result
}

describe("MuxRpc over a link of 200 KB/s", { timeout: 300_000 }, () => {
  // Each way waits behind the bytes in flight. A plain peer's stream takes a round trip more to open.
  for (const [wire, roundTrips] of [["native", 3], ["plain", 6]] as const) {
    const what = `99 % of small calls in ${roundTrips} round trips when a large answer fills the link`
    it(`MuxRpc, ${wire}, answers ${what}`, () => {
      expect(measure(`MuxRpc, ${wire}`, wire).p99).toBeLessThan(roundTrips * roundTrip)
    })
  }

  it("RpcClient over one socket takes 12 round trips when a large answer fills the link", () => {
    expect(measure("RpcClient over one socket", "oneSocket").p99).toBeGreaterThan(12 * roundTrip)
  })
})
