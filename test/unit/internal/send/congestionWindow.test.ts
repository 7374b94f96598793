import { describe, expect, it } from "@effect/vitest"
import { CongestionController } from "../../../../src/internal/send/congestion.js"

const kib = 1024

/** A flight whose answers come when the test says so. `known` is the round trip that was measured before. */
const makeManual = (known?: number) => {
  let now = 0
  let rooms = 0
  let full = 0
  const pings: Array<() => void> = []
  const flight = new CongestionController({
    now: () => now,
    ping: (answered) => pings.push(answered),
    onFull: () => full++,
    onBlind: () => 0,
    onRoom: () => rooms++
  })
  if (known !== undefined) flight.onRtt(known)
  const fill = () => {
    for (let size = flight.reserve(64 * kib); size > 0; size = flight.reserve(64 * kib)) flight.onSent(size)
  }
  return {
    flight,
    pings,
    fill,
    /** Lets time go by, and answers the first ping that is left, or another. */
    answer: (after: number, index = 0) => {
      now += after
      pings.splice(index, 1)[0]!()
    },
    pass: (millis: number) => {
      now += millis
    },
    told: () => [full, rooms]
  }
}

describe("the room of a flight", () => {
  it("is what is free, where that is all that is wanted, or a quarter of the largest frame", () => {
    const room = (sent: number, wanted: number) => {
      const { flight } = makeManual()
      flight.onSent(sent)
      return flight.reserve(wanted)
    }
    expect([room(0, 64 * kib), room(0, 5000), room(12_288, 64 * kib), room(12_289, 64 * kib), room(12_289, 4095)])
      .toEqual([16_384, 5000, 4096, 0, 4095])
    expect([room(16_000, 1024), room(16_000, 1025), room(32_767, 1), room(32_768, 1)]).toEqual([1024, 0, 1, 0])
  })

  it("is a quarter of a large limit for one frame, in whole bytes", () => {
    const { answer, fill, flight } = makeManual(10)
    for (let i = 0; i < 4; i++) {
      fill()
      answer(1)
    }
    expect([flight.window, flight.reserve(1e6)]).toEqual([131_072, 32_768])
    const cut = makeManual(10)
    cut.fill()
    cut.answer(100)
    cut.flight.onSent(1)
    expect([cut.flight.window, cut.flight.reserve(1e6)]).toEqual([16_384 * 0.7, 11_467])
  })

  it("is told once when there is none, and once when there is some again", () => {
    const { answer, fill, flight, told } = makeManual(10)
    expect([told(), flight.overdueProbe]).toEqual([[0, 0], undefined])
    fill()
    fill()
    expect([told(), flight.overdueProbe !== undefined]).toEqual([[1, 0], true])
    answer(10)
    expect([told(), flight.overdueProbe]).toEqual([[1, 1], undefined])
    fill()
    expect(told()).toEqual([2, 1])
  })
})

describe("the pings of a flight", () => {
  it("come after half of a small limit, and no more than six at once", () => {
    const { answer, flight, pings } = makeManual()
    flight.onSent(8191)
    expect(pings).toHaveLength(0)
    flight.onSent(1)
    expect(pings).toHaveLength(1)
    for (let i = 0; i < 9; i++) flight.onSent(8192)
    expect([pings.length, flight.inFlight]).toEqual([6, 10 * 8192])
    answer(10)
    expect(flight.inFlight).toBe(9 * 8192)
    flight.onSent(1)
    expect(pings).toHaveLength(6)
  })

  it("come after 256 KiB of a larger limit, or a quarter of a very large one", () => {
    const { answer, fill, flight, pings } = makeManual(10)
    const bytesToPing = () => {
      let sent = 0
      const before = pings.length
      for (; pings.length === before; sent += kib) flight.onSent(kib)
      return sent
    }
    for (const least of [512 * kib, 2048 * kib]) {
      while (flight.window < least) {
        fill()
        while (pings.length > 0) answer(0)
      }
      expect(bytesToPing()).toBe(Math.max(flight.window / 4, 256 * kib))
      while (pings.length > 0) answer(0)
    }
  })

  it("answer for those before them, whose own answers say nothing any more", () => {
    const { answer, flight } = makeManual()
    for (let i = 0; i < 3; i++) flight.onSent(8192)
    answer(10, 1)
    expect(flight.inFlight).toBe(8192)
    answer(10)
    expect(flight.inFlight).toBe(8192)
    answer(10)
    expect(flight.inFlight).toBe(0)
  })

  it("are asked again when they are overdue; the oldest of six is forgotten", () => {
    const { answer, flight, pings } = makeManual(10)
    for (let i = 0; i < 5; i++) flight.onSent(8192)
    flight.onProbeTimeout()
    expect(pings).toHaveLength(6)
    flight.onProbeTimeout()
    expect(pings).toHaveLength(7)
    answer(10)
    expect(flight.inFlight).toBe(5 * 8192)
    answer(10)
    expect(flight.inFlight).toBe(3 * 8192)
  })
})

describe("the limit of a flight", () => {
  /** The limit after an answer that took so long, of a flight that was full, or not. */
  const after = (known: number, trip: number, full = true) => {
    const { answer, fill, flight } = makeManual(known)
    if (full) fill()
    else flight.onSent(8192)
    answer(trip)
    return flight.window
  }

  it("doubles after a good round in which a frame was cut, though the flight was never full", () => {
    const limit = (wanted: number) => {
      const { answer, flight } = makeManual(10)
      flight.onSent(flight.reserve(wanted))
      answer(10)
      return flight.window
    }
    expect([limit(16 * kib + 1), limit(16 * kib)]).toEqual([32_768, 16_384])
  })

  it("doubles after a round that was full and good: not twice as long as a lone ping, nor 5 ms longer", () => {
    expect([after(10, 10), after(10, 20), after(10, 21), after(10, 10, false)])
      .toEqual([32_768, 32_768, 16_384, 16_384])
    expect([after(1, 6), after(1, 7)]).toEqual([32_768, 16_384])
  })

  it("is cut down once a queue has stood for 100 ms, by what is too much of it, and by 30 % at most", () => {
    expect([after(10, 99), after(10, 100), after(80, 170)]).toEqual([16_384, 16_384 * 0.7, 16_384 * (160 / 170)])
  })

  it("grows by a quarter after it was cut", () => {
    const { answer, fill, flight, pings } = makeManual(10)
    fill()
    answer(100)
    const cut = flight.window
    for (let i = 0; i < 4 && flight.window === cut; i++) {
      fill()
      while (pings.length > 0 && flight.window === cut) answer(5)
    }
    expect(flight.window).toBe(cut * 1.25)
  })

  it("is never below 4 KiB, nor above 2 GiB", () => {
    const slow = makeManual(10)
    for (let i = 0; i < 20; i++) {
      slow.fill()
      slow.answer(400)
    }
    expect(slow.flight.window).toBe(4096)
    const fast = makeManual(10)
    for (let i = 0; i < 60 && fast.flight.window < 2 ** 31; i++) {
      fast.fill()
      while (fast.pings.length > 0) fast.answer(0)
    }
    expect(fast.flight.window).toBe(2 ** 31)
  })

  it("believes in the least round trip of 10 s and of those before, and no longer", () => {
    const limit = (...lone: ReadonlyArray<readonly [after: number, trip: number]>) => {
      const { answer, fill, flight, pass } = makeManual(10)
      for (const [millis, trip] of lone) {
        pass(millis)
        flight.onRtt(trip)
      }
      fill()
      answer(30)
      return flight.window
    }
    expect([limit([9999, 50]), limit([10_000, 50]), limit([10_000, 50], [9999, 50]), limit([10_000, 50], [10_000, 50])])
      .toEqual([16_384, 16_384, 16_384, 32_768])
  })

  it("is halved for a while when a period ends, so that the next round trip is a lone one's", () => {
    const { answer, fill, flight, pass, pings, told } = makeManual(10)
    fill()
    pass(10_000)
    flight.onRtt(10)
    flight.onProbeTimeout()
    expect([flight.window, flight.reserve(64 * kib), told()]).toEqual([16_384, 0, [1, 0]])
    answer(10)
    expect([flight.window, flight.inFlight, told(), pings.length]).toEqual([16_384, 0, [1, 1], 2])
  })
})
