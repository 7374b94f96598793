import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { SendWindow } from "../../../../src/internal/wire/sendWindow.js"

const maxUint32 = 0xffff_ffff

/** Sizes at both ends of the uint32 range, for overflows. */
const size = FastCheck.oneof(
  FastCheck.integer({ min: 0, max: 20 }),
  FastCheck.integer({ min: 0, max: maxUint32 }),
  FastCheck.integer({ min: maxUint32 - 20, max: maxUint32 })
)

describe("SendWindow", () => {
  it("SendWindow takes at most its credit", () => {
    const window = new SendWindow(10)
    expect([window.take(4), window.take(0), window.take(20), window.take(1), window.credit]).toEqual([4, 0, 6, 0, 0])
  })

  it("SendWindow adds granted credit", () => {
    const window = new SendWindow(0)
    expect([window.grant(0), window.grant(5), window.grant(6), window.credit]).toEqual([true, true, true, 11])
  })

  it("SendWindow limits its credit to the largest uint32, and reports the excess", () => {
    const window = new SendWindow(maxUint32 - 1)
    expect([window.grant(1), window.credit]).toEqual([true, maxUint32])
    expect([window.grant(1), window.credit]).toEqual([false, maxUint32])
    expect([window.grant(maxUint32), window.credit]).toEqual([false, maxUint32])
    expect([window.take(maxUint32), window.credit]).toEqual([maxUint32, 0])
  })

  const operation = FastCheck.tuple(FastCheck.constantFrom("grant", "take"), size)

  it.prop(
    "SendWindow spends exactly the granted credit for any operations",
    [size, FastCheck.array(operation)],
    ([start, operations]) => {
      const window = new SendWindow(start)
      for (const [kind, bytes] of operations) {
        const before = window.credit
        if (kind === "grant") {
          expect(window.grant(bytes)).toBe(before + bytes <= maxUint32)
          expect(window.credit).toBe(Math.min(before + bytes, maxUint32))
        } else {
          const taken = window.take(bytes)
          expect(taken).toBe(bytes <= before ? bytes : before)
          expect(window.credit).toBe(before - taken)
        }
        expect(window.credit >= 0 && window.credit <= maxUint32).toBe(true)
      }
    }
  )
})
