import { describe, expect, it } from "@effect/vitest"
import { Counters } from "../../../../src/internal/observe/counters.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import * as Record from "../../../../src/internal/wire/record.js"

describe("Counters", () => {
  it("Counters.sent counts each kind of frame and the payload alone", () => {
    const counters = new Counters()
    counters.sent([Frame.syn(1)], 0)
    counters.sent([Frame.ack(1, 7)], 0)
    counters.sent([Frame.datHeader(1), new Uint8Array(10)], 10)
    counters.sent([Frame.datHeader(3), new Uint8Array(2), new Uint8Array(3)], 5)
    counters.sent([Frame.fin(1)], 0)
    counters.sent([Record.encodeStop(1, 0)], 0)
    expect(counters.framesOut).toEqual({ syn: 1, ack: 1, dat: 2, fin: 1, record: 1 })
    expect(counters.bytesOut).toBe(15)
    expect(counters.framesIn).toEqual({ syn: 0, ack: 0, dat: 0, fin: 0, record: 0 })
  })

  it("Counters.snapshot keeps its values when the counters grow", () => {
    const counters = new Counters()
    const before = counters.snapshot()
    counters.opened++
    counters.framesIn.dat++
    counters.framesOut.syn++
    expect(before).toEqual(new Counters().snapshot())
    expect(counters.snapshot()).toMatchObject({ opened: 1, framesIn: { dat: 1 }, framesOut: { syn: 1 } })
  })
})
