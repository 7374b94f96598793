import { describe, expect, it } from "@effect/vitest"
import { CongestionController } from "../../../../src/internal/send/congestion.js"
import { RttEstimator } from "../../../../src/internal/time/rtt.js"

const kib = 1024

interface Network {
  /** Bytes per millisecond. */
  readonly rate: number
  /** Milliseconds there and back, with nothing on the way. */
  readonly trip: number
  /** Milliseconds by which a proxy holds the end of a burst at that time, as by Nagle's algorithm. */
  readonly held?: (now: number) => number
}

/**
 * A controller, and a network in which each frame queues behind the frames before. `run` advances the time while a
 * writer sends all that it may, in frames of up to 64 KiB and within its `window`. `run` returns how many bytes
 * arrived.
 */
const makeNetwork = ({ held = () => 0, rate: first, trip }: Network, { known = true, window = Infinity } = {}) => {
  let rate = first
  let now = 0
  let linkFreeAt = 0
  let sent = 0
  let arrived = 0
  let credit = 0
  let answering = true
  let full = 0
  let blind = 0
  const events: Array<{ readonly at: number; readonly happens: () => void }> = []
  const at = (time: number, happens: () => void) => {
    events.push({ at: time, happens })
    events.sort((a, b) => a.at - b.at)
  }
  const rtt = new RttEstimator({
    now: () => now,
    ping: (answered) => {
      const wait = trip + (arrived < sent ? held(now) : 0)
      at(Math.max(linkFreeAt, now) + wait, () => answering && answered())
    }
  })
  const controller = new CongestionController(rtt, {
    onFull: () => full++,
    onBlind: () => blind++,
    onRoom: () => write()
  })
  if (known) rtt.record(trip) // as the session's first ping tells, on a network at rest
  let writing = true
  const [writer, typist] = [{ largeSent: 0 }, { largeSent: 0 }]
  const send = (size: number, sender = typist, isLarge?: boolean) => {
    linkFreeAt = Math.max(linkFreeAt, now) + size / rate
    sent += size
    at(linkFreeAt + trip / 2, () => {
      arrived += size
    })
    at(linkFreeAt + trip, () => {
      credit = arrived
      write()
    })
    controller.onSent(size, sender, isLarge)
  }
  const write = () => {
    for (;;) {
      const left = Math.min(64 * kib, window - (sent - credit))
      const size = writing && left > 0 ? controller.reserve(left) : 0
      if (size === 0) return
      send(size, writer)
    }
  }
  return {
    controller,
    rtt,
    get full() {
      return full
    },
    /** How many milliseconds a key stroke would take now. */
    get delay() {
      return Math.max(linkFreeAt - now, 0) + trip / 2
    },
    send,
    writer,
    slow: (factor: number) => {
      rate *= factor
    },
    get blind() {
      return blind
    },
    silence: (silent = true) => {
      answering = !silent
    },
    rest: () => {
      writing = false
    },
    run: (millis: number) => {
      const before = arrived
      const end = now + millis
      write()
      while (events.length > 0 && events[0]!.at <= end) {
        const event = events.shift()!
        now = event.at
        event.happens()
      }
      now = end
      return arrived - before
    }
  }
}

describe("CongestionController", () => {
  it("CongestionController delays a key stroke by less than 1 s on a link of 20 KiB/s", () => {
    const link = makeNetwork({ rate: 20, trip: 5 })
    const delays = Array.from({ length: 300 }, () => {
      link.run(100)
      return link.delay
    })
    expect(Math.max(...delays)).toBeLessThan(1000)
    expect(Math.max(...delays.slice(20))).toBeLessThan(500)
    expect(link.run(10_000)).toBeGreaterThan(0.95 * 20 * 10_000)
  })

  for (
    const [name, network] of Object.entries({
      "a slow network": { rate: 20, trip: 5 },
      "a fast and long network": { rate: 50_000, trip: 40 },
      "a loopback": { rate: 400_000, trip: 0.1 },
      "a long and slow network": { rate: 100, trip: 600 }
    })
  ) {
    it(`CongestionController fills ${name} and queues little more`, () => {
      const { rate, trip } = network
      const link = makeNetwork(network)
      link.run(20 * trip + 2000)
      expect(link.run(1000 + 10 * trip)).toBeGreaterThan(0.9 * rate * (1000 + 10 * trip))
      // what it holds, as much again or what passes in 5 ms, and the least that is worth while
      expect(link.controller.window).toBeLessThan(2 * (rate * (trip + Math.max(trip, 5)) + 8 * kib))
    })
  }

  describe.each([
    ["a loopback", { rate: 400_000, trip: 0.1 }],
    ["a fast local network", { rate: 1_000_000, trip: 0.2 }],
    ["a network of a city", { rate: 10_000, trip: 4.9 }],
    ["a slower network of a city", { rate: 3000, trip: 4.9 }],
    ["a fast and long network", { rate: 50_000, trip: 40 }],
    ["a slow network", { rate: 20, trip: 5 }]
  ])("CongestionController on %s", (_name, network) => {
    const { rate, trip } = network
    /** Types every 10 ms. Returns how many bytes arrived, and the time of the slowest key stroke. */
    const typing = (link: ReturnType<typeof makeNetwork>, millis: number) => {
      const delays: Array<number> = []
      let bytes = 0
      for (let i = 0; i < millis / 10; i++) {
        link.send(64)
        delays.push(link.delay - trip / 2)
        bytes += link.run(10)
      }
      return { bytes, longest: Math.max(...delays) }
    }

    it("CongestionController sends at most twice the BDP while small frames pass large ones", () => {
      const link = makeNetwork(network)
      link.run(20 * trip + 2000)
      typing(link, 10 * trip + 1000)
      const { bytes, longest } = typing(link, 10 * trip + 1000)
      expect(longest).toBeLessThan(1.5 * Math.max(trip, Math.min(link.controller.window, 64 * kib) / rate))
      expect(bytes).toBeGreaterThan(0.7 * rate * (10 * trip + 1000))
    })

    it("CongestionController does so when the window of a stream had limited it before", () => {
      const link = makeNetwork(network, { window: 512 * kib })
      link.run(20 * trip + 2000)
      typing(link, 10 * trip + 1000)
      const { longest } = typing(link, 10 * trip + 1000)
      expect(longest).toBeLessThan(1.5 * Math.max(trip, Math.min(link.controller.window, 64 * kib) / rate))
    })

    it("CongestionController returns to its window 100 ms after the last small frame", () => {
      const link = makeNetwork(network)
      link.run(20 * trip + 2000)
      typing(link, 100)
      const { inFlight } = link.controller
      link.run(80)
      expect(link.controller.inFlight).toBeLessThan(1.3 * inFlight + 16 * kib)
      link.run(20 + 2 * trip)
      expect(link.controller.inFlight).toBeGreaterThan(0.6 * link.controller.window)
    })
  })

  it.each(
    [
      ["rests of large writes", (link) => link.send(64, undefined, true)],
      ["frames of the stream whose large frames they follow", (link) => link.send(64, link.writer)]
    ] satisfies ReadonlyArray<[string, (link: ReturnType<typeof makeNetwork>) => void]>
  )(
    "CongestionController keeps its window when small frames are %s",
    (_name, sendSmall) => {
      const link = makeNetwork({ rate: 400_000, trip: 0.1 })
      link.run(2000)
      for (let i = 0; i < 100; i++) {
        link.run(10)
        sendSmall(link)
        link.run(0.01)
        expect(link.controller.inFlight).toBeGreaterThan(0.6 * link.controller.window)
      }
    }
  )

  it("CongestionController shrinks its window when the network becomes slower", () => {
    const network = { rate: 10_000, trip: 20 }
    const link = makeNetwork(network)
    link.run(2000)
    network.rate = 100
    const slow = makeNetwork(network)
    slow.run(2000)
    expect(slow.controller.window).toBeLessThan(link.controller.window / 20)
  })

  it("CongestionController fills the network when a proxy holds the end of each burst for 40 ms", () => {
    const link = makeNetwork({ rate: 50_000, trip: 0.2, held: () => 40 })
    expect(link.run(1000)).toBeGreaterThan(0.15 * 50_000 * 1000) // slow start goes on
    link.run(2000)
    expect(link.run(30_000)).toBeGreaterThan(0.7 * 50_000 * 30_000)
    expect(link.delay).toBeLessThan(100)
  })

  it("CongestionController fills the network when a proxy holds the end of some bursts for 40 ms", () => {
    const link = makeNetwork({ rate: 50_000, trip: 0.2, held: (now) => now % 130 < 120 ? 40 : 0 })
    link.run(1000)
    expect(link.run(5000)).toBeGreaterThan(0.9 * 50_000 * 5000)
  })

  it("CongestionController queues little when the network becomes faster all the time", () => {
    const link = makeNetwork({ rate: 200, trip: 20 })
    link.run(2000)
    const delays = Array.from({ length: 60 }, () => {
      link.slow(1.05)
      link.run(100)
      return link.delay
    })
    expect(Math.max(...delays.slice(10))).toBeLessThan(100)
  })

  it("CongestionController queues little more than 100 ms when the network fades for 5 s", () => {
    const link = makeNetwork({ rate: 2000, trip: 10 })
    link.run(2000)
    const delays = Array.from({ length: 50 }, () => {
      link.slow(0.93)
      link.run(100)
      return link.delay
    })
    expect(Math.max(...delays.slice(10))).toBeLessThan(300)
  })

  it("CongestionController keeps its window when the writer is the limit", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 })
    const { window: limit } = link.controller
    link.rest()
    for (let i = 0; i < 100; i++) {
      link.send(8 * kib)
      link.run(100)
    }
    expect(link.controller.window).toBe(limit)
  })

  it("CongestionController lets small frames exceed the window up to twice its size", () => {
    const link = makeNetwork({ rate: 1, trip: 10 })
    link.run(0)
    expect([link.full, link.controller.reserve(64 * kib), link.controller.reserve(64)]).toEqual([1, 0, 64])
    for (let i = 0; i < 1000 && link.controller.reserve(kib) > 0; i++) link.send(kib)
    expect(link.controller.inFlight).toBeLessThanOrEqual(2 * link.controller.window + kib)
    expect(link.controller.reserve(1)).toBe(0)
  })

  it("CongestionController lifts its limit when a peer has never answered a ping", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 }, { known: false })
    link.silence()
    link.run(100)
    expect(link.controller.overdueProbe).toBeDefined()
    link.rest()
    link.controller.onProbeTimeout()
    expect([link.controller.overdueProbe, link.controller.reserve(1e9)]).toEqual([undefined, 1e9])
  })

  it("CongestionController ignores small frames when a peer never answers", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 }, { known: false })
    link.silence()
    link.run(100)
    link.send(64)
    link.rest()
    link.controller.onProbeTimeout()
    link.send(1e6)
    link.send(64)
    expect([link.controller.overdueProbe, link.controller.reserve(64 * kib)]).toEqual([undefined, 64 * kib])
  })

  it("CongestionController probes again when answers are lost", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    const { overdueProbe: overdue } = link.controller
    expect([overdue !== undefined, link.controller.reserve(64 * kib)]).toEqual([true, 0])
    link.controller.onProbeTimeout()
    expect(link.controller.reserve(64 * kib)).toBe(0)
    expect(link.controller.overdueProbe).toBe(overdue)
  })

  it("CongestionController lifts its limit when 2 probes time out and credit comes back", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    link.rest()
    link.controller.onCredit()
    link.controller.onProbeTimeout()
    expect([link.controller.reserve(64 * kib), link.blind]).toEqual([0, 0])
    link.controller.onProbeTimeout()
    expect([link.controller.overdueProbe, link.controller.reserve(1e9), link.blind]).toEqual([undefined, 1e9, 1])
  })

  it("CongestionController keeps its limit when probes time out without credit", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    for (let i = 0; i < 10; i++) link.controller.onProbeTimeout()
    expect([link.controller.reserve(64 * kib), link.blind]).toEqual([0, 0])
  })

  it("CongestionController restarts when a peer answers again", () => {
    const link = makeNetwork({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    link.rest()
    link.controller.onCredit()
    link.controller.onProbeTimeout()
    link.controller.onProbeTimeout()
    expect(link.controller.window).toBe(Infinity)
    link.silence(false)
    link.rtt.record(10) // the keep-alive's ping has been answered
    expect(link.controller.window).toBe(16 * kib)
    link.run(100)
    expect([link.controller.inFlight, link.controller.reserve(64 * kib)]).toEqual([0, 16 * kib])
  })
})
