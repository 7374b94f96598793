import { describe, expect, it } from "@effect/vitest"
import { CongestionController } from "../../../../src/internal/send/congestion.js"
import { RttEstimator } from "../../../../src/internal/time/rtt.js"

const kib = 1024

const sender = () => ({ largeSent: 0 })

/** A controller whose probes the test answers. `known` is an RTT that was measured before. */
const makeController = (known?: number) => {
  let now = 0
  let rooms = 0
  let full = 0
  const pings: Array<() => void> = []
  const rtt = new RttEstimator({ now: () => now, ping: (answered) => pings.push(answered) })
  const controller = new CongestionController(rtt, {
    onFull: () => full++,
    onBlind: () => 0,
    onRoom: () => rooms++
  })
  if (known !== undefined) rtt.record(known)
  const fill = () => {
    for (let size = controller.reserve(64 * kib); size > 0; size = controller.reserve(64 * kib)) {
      controller.onSent(size, sender())
    }
  }
  return {
    controller,
    rtt,
    pings,
    fill,
    /** Advances the time, and answers the first unanswered ping, or another. */
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

describe("CongestionController.reserve", () => {
  it("CongestionController grants the free bytes when they hold the frame or a quarter of it", () => {
    const room = (sent: number, wanted: number) => {
      const { controller } = makeController()
      controller.onSent(sent, sender())
      return controller.reserve(wanted)
    }
    expect([room(0, 64 * kib), room(0, 5000), room(12_288, 64 * kib), room(12_289, 64 * kib), room(12_289, 4095)])
      .toEqual([16_384, 5000, 4096, 0, 4095])
    expect([room(16_000, 1024), room(16_000, 1025), room(32_767, 1), room(32_768, 1)]).toEqual([1024, 0, 1, 0])
  })

  it("CongestionController grants at most a quarter of a large window, in whole bytes", () => {
    const { answer, fill, controller } = makeController(10)
    for (let i = 0; i < 4; i++) {
      fill()
      answer(1)
    }
    expect([controller.window, controller.reserve(1e6)]).toEqual([131_072, 32_768])
    const cut = makeController(10)
    cut.fill()
    cut.answer(100)
    cut.controller.onSent(1, sender())
    expect([cut.controller.window, cut.controller.reserve(1e6)]).toEqual([16_384 * 0.7, 11_467])
  })

  it("CongestionController calls onFull once when it refuses, and onRoom once after that", () => {
    const { answer, fill, controller, told } = makeController(10)
    expect([told(), controller.overdueProbe]).toEqual([[0, 0], undefined])
    fill()
    fill()
    expect([told(), controller.overdueProbe !== undefined]).toEqual([[1, 0], true])
    answer(10)
    expect([told(), controller.overdueProbe]).toEqual([[1, 1], undefined])
    fill()
    expect(told()).toEqual([2, 1])
  })
})

describe("CongestionController.onSent", () => {
  it("CongestionController probes after half of a small window, with at most 6 unanswered", () => {
    const { answer, controller, pings } = makeController()
    controller.onSent(8191, sender())
    expect(pings).toHaveLength(0)
    controller.onSent(1, sender())
    expect(pings).toHaveLength(1)
    for (let i = 0; i < 9; i++) controller.onSent(8192, sender())
    expect([pings.length, controller.inFlight]).toEqual([6, 10 * 8192])
    answer(10)
    expect(controller.inFlight).toBe(9 * 8192)
    controller.onSent(1, sender())
    expect(pings).toHaveLength(6)
  })

  it("CongestionController probes after 256 KiB of a large window, or after a quarter of it", () => {
    const { answer, fill, controller, pings } = makeController(10)
    const bytesToPing = () => {
      let sent = 0
      const before = pings.length
      for (; pings.length === before; sent += kib) controller.onSent(kib, sender())
      return sent
    }
    for (const least of [512 * kib, 2048 * kib]) {
      while (controller.window < least) {
        fill()
        while (pings.length > 0) answer(0)
      }
      expect(bytesToPing()).toBe(Math.max(controller.window / 4, 256 * kib))
      while (pings.length > 0) answer(0)
    }
  })

  it("CongestionController takes an answer for all probes before, and ignores theirs", () => {
    const { answer, controller } = makeController()
    for (let i = 0; i < 3; i++) controller.onSent(8192, sender())
    answer(10, 1)
    expect(controller.inFlight).toBe(8192)
    answer(10)
    expect(controller.inFlight).toBe(8192)
    answer(10)
    expect(controller.inFlight).toBe(0)
  })

  it("CongestionController probes again on a time-out, and forgets the oldest of 6 probes", () => {
    const { answer, controller, pings } = makeController(10)
    for (let i = 0; i < 5; i++) controller.onSent(8192, sender())
    controller.onProbeTimeout()
    expect(pings).toHaveLength(6)
    controller.onProbeTimeout()
    expect(pings).toHaveLength(7)
    answer(10)
    expect(controller.inFlight).toBe(5 * 8192)
    answer(10)
    expect(controller.inFlight).toBe(3 * 8192)
  })
})

describe("CongestionController.window", () => {
  /** The window after an answer with an RTT of `trip`. */
  const after = (known: number, trip: number, full = true) => {
    const { answer, fill, controller } = makeController(known)
    if (full) fill()
    else controller.onSent(8192, sender())
    answer(trip)
    return controller.window
  }

  it("CongestionController doubles its window after a good round in which a frame was cut", () => {
    const limit = (wanted: number) => {
      const { answer, controller } = makeController(10)
      controller.onSent(controller.reserve(wanted), sender())
      answer(10)
      return controller.window
    }
    expect([limit(16 * kib + 1), limit(16 * kib)]).toEqual([32_768, 16_384])
  })

  it("CongestionController doubles its window when a full round took at most 2 RTT or 5 ms more", () => {
    expect([after(10, 10), after(10, 20), after(10, 21), after(10, 10, false)])
      .toEqual([32_768, 32_768, 16_384, 16_384])
    expect([after(1, 6), after(1, 7)]).toEqual([32_768, 16_384])
  })

  it("CongestionController shrinks by the excess, at most 30 %, when a queue stands for 100 ms", () => {
    expect([after(10, 99), after(10, 100), after(80, 170)]).toEqual([16_384, 16_384 * 0.7, 16_384 * (160 / 170)])
  })

  it("CongestionController grows by a quarter when it has shrunk before", () => {
    const { answer, fill, controller, pings } = makeController(10)
    fill()
    answer(100)
    const cut = controller.window
    for (let i = 0; i < 4 && controller.window === cut; i++) {
      fill()
      while (pings.length > 0 && controller.window === cut) answer(5)
    }
    expect(controller.window).toBe(cut * 1.25)
  })

  it("CongestionController keeps its window between 4 KiB and 2 GiB", () => {
    const slow = makeController(10)
    for (let i = 0; i < 20; i++) {
      slow.fill()
      slow.answer(10 + slow.controller.window / 10) // a link of 10 KB/s
    }
    expect(slow.controller.window).toBe(4096)
    const fast = makeController(10)
    for (let i = 0; i < 60 && fast.controller.window < 2 ** 31; i++) {
      fast.fill()
      while (fast.pings.length > 0) fast.answer(0)
    }
    expect(fast.controller.window).toBe(2 ** 31)
  })

  it("CongestionController judges queues by the minimum RTT of the last 10 to 20 s", () => {
    const limit = (...lone: ReadonlyArray<readonly [after: number, trip: number]>) => {
      const { answer, fill, controller, pass, rtt } = makeController(10)
      for (const [millis, trip] of lone) {
        pass(millis)
        rtt.record(trip)
      }
      fill()
      answer(30)
      return controller.window
    }
    expect([limit([9999, 50]), limit([10_000, 50]), limit([10_000, 50], [9999, 50]), limit([10_000, 50], [10_000, 50])])
      .toEqual([16_384, 16_384, 16_384, 32_768])
  })

  it("CongestionController drains half of its window when a lifetime of the minimum RTT ends", () => {
    const { answer, fill, controller, pass, pings, rtt, told } = makeController(10)
    fill()
    pass(10_000)
    rtt.record(10)
    controller.onProbeTimeout()
    expect([controller.window, controller.reserve(64 * kib), told()]).toEqual([16_384, 0, [1, 0]])
    answer(10)
    expect([controller.window, controller.inFlight, told(), pings.length]).toEqual([16_384, 0, [1, 1], 2])
  })
})
