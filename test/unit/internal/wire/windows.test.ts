import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { ReceiveWindow } from "../../../../src/internal/wire/receiveWindow.js"
import { SendWindow } from "../../../../src/internal/wire/sendWindow.js"

const maxUint32 = 0xffff_ffff

/** Sizes at both ends of the range, where arithmetic goes wrong. */
const size = FastCheck.oneof(
  FastCheck.integer({ min: 0, max: 20 }),
  FastCheck.integer({ min: 0, max: maxUint32 }),
  FastCheck.integer({ min: maxUint32 - 20, max: maxUint32 })
)

describe("a send window", () => {
  it("gives what it has", () => {
    const window = new SendWindow(10)
    expect([window.take(4), window.take(0), window.take(20), window.take(1), window.credit]).toEqual([4, 0, 6, 0, 0])
  })

  it("grows by what is granted", () => {
    const window = new SendWindow(0)
    expect([window.grant(0), window.grant(5), window.grant(6), window.credit]).toEqual([true, true, true, 11])
  })

  it("is clamped to the largest uint32, and says so", () => {
    const window = new SendWindow(maxUint32 - 1)
    expect([window.grant(1), window.credit]).toEqual([true, maxUint32])
    expect([window.grant(1), window.credit]).toEqual([false, maxUint32])
    expect([window.grant(maxUint32), window.credit]).toEqual([false, maxUint32])
    expect([window.take(maxUint32), window.credit]).toEqual([maxUint32, 0])
  })

  const operation = FastCheck.tuple(FastCheck.constantFrom("grant", "take"), size)

  it.prop(
    "gives neither more nor less than it was granted",
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

describe("a receive window", () => {
  const state = (window: ReceiveWindow) => ({ granted: window.granted, buffered: window.buffered })

  it("returns credit in halves", () => {
    const window = new ReceiveWindow(100, 100)
    expect([window.receive(60), state(window)]).toEqual([60, { granted: 40, buffered: 60 }])
    expect([window.consume(49), state(window)]).toEqual([0, { granted: 40, buffered: 11 }])
    expect([window.consume(1), state(window)]).toEqual([50, { granted: 90, buffered: 10 }])
    expect([window.consume(10), state(window)]).toEqual([0, { granted: 90, buffered: 0 }])
  })

  it("takes of an overrun what fits", () => {
    const window = new ReceiveWindow(10, 10)
    expect([window.receive(7), window.receive(4), window.receive(1), state(window)])
      .toEqual([7, 3, 0, { granted: 0, buffered: 10 }])
  })

  it("tops up a peer that believes in less", () => {
    const window = new ReceiveWindow(100, 30)
    expect([window.topUp(), window.topUp(), state(window)]).toEqual([70, 0, { granted: 100, buffered: 0 }])
  })

  it("leaves a peer that believes in more its surplus, and returns nothing until that is used up", () => {
    const window = new ReceiveWindow(100, 250)
    expect([window.topUp(), window.receive(250), state(window)]).toEqual([0, 250, { granted: 0, buffered: 250 }])
    expect([window.consume(150), window.consume(49), window.consume(1)]).toEqual([0, 0, 50])
    expect(state(window)).toEqual({ granted: 50, buffered: 50 })
  })

  it("grants what it grows by, and goes by its new size", () => {
    const window = new ReceiveWindow(100, 100)
    expect([window.size, window.grow(60), window.size, state(window)])
      .toEqual([100, 60, 160, { granted: 160, buffered: 0 }])
    expect([window.receive(160), window.consume(79), window.consume(1)]).toEqual([160, 0, 80])
  })

  it("serves a writer byte by byte when it holds one byte", () => {
    const window = new ReceiveWindow(1, 1)
    expect([window.receive(1), window.consume(1), window.receive(1), window.consume(1)]).toEqual([1, 1, 1, 1])
  })

  const operation = FastCheck.oneof(
    FastCheck.record({ kind: FastCheck.constant("receive" as const), bytes: size }),
    FastCheck.record({
      kind: FastCheck.constant("arrive" as const),
      share: FastCheck.double({ min: 0, max: 1, noNaN: true })
    }),
    FastCheck.record({
      kind: FastCheck.constant("consume" as const),
      share: FastCheck.double({ min: 0, max: 1, noNaN: true })
    })
  )

  it("returns the credit of a large window 256 KiB at a time", () => {
    const window = new ReceiveWindow(1024 * 1024, 1024 * 1024)
    window.receive(1024 * 1024)
    expect([window.consume(256 * 1024 - 1), window.consume(1), window.consume(1)]).toEqual([0, 256 * 1024, 0])
  })

  it.prop(
    "agrees with its peer, never stores more than promised, and never starves a writer",
    [FastCheck.oneof(FastCheck.constant(1), size), size, FastCheck.array(operation, { maxLength: 40 })],
    ([wanted, believed, operations]) => {
      const window = new ReceiveWindow(wanted, believed)
      const most = Math.max(wanted, believed)
      let credit = believed + window.topUp()
      let unread = 0
      const check = () => {
        expect(state(window)).toEqual({ granted: credit, buffered: unread })
        expect(Math.min(credit, unread)).toBeGreaterThanOrEqual(0)
        expect(credit + unread).toBeLessThanOrEqual(most)
      }
      check()
      expect(credit).toBeGreaterThanOrEqual(wanted)
      for (const operation of operations) {
        if (operation.kind === "consume") {
          const bytes = Math.round(operation.share * unread)
          const returned = window.consume(bytes)
          unread -= bytes
          credit += returned
          check()
          // nothing, or at least half a window or 256 KiB of a larger one, and just up to the size
          if (returned > 0) {
            expect([returned >= Math.min(wanted / 2, 256 * 1024), credit + unread]).toEqual([true, wanted])
          }
          if (wanted > 0) expect((credit + unread) * 2).toBeGreaterThan(wanted)
        } else {
          const bytes = operation.kind === "receive" ? operation.bytes : Math.round(operation.share * credit)
          const fit = window.receive(bytes)
          expect(fit).toBe(Math.min(bytes, credit))
          unread += fit
          credit -= fit
          check()
        }
      }
      credit += window.consume(unread)
      unread = 0
      check()
      if (wanted > 0) expect(credit * 2).toBeGreaterThan(wanted)
    },
    { fastCheck: { numRuns: 500 } }
  )
})
