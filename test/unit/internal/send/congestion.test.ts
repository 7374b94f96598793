import { describe, expect, it } from "@effect/vitest"
import { CongestionController } from "../../../../src/internal/send/congestion.js"

const kib = 1024

interface Network {
  /** Bytes per millisecond. */
  readonly rate: number
  /** Milliseconds there and back, with nothing on the way. */
  readonly trip: number
}

/**
 * A flight, and a network that carries it: whatever is sent queues up behind what was sent before. `run` lets time go by
 * while a writer sends all that it may, in frames of 64 KiB at most and as its `window` allows, and answers how many bytes
 * arrived.
 */
const makeFlight = ({ rate, trip }: Network, { known = true, window = Infinity } = {}) => {
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
  const flight = new CongestionController({
    now: () => now,
    ping: (answered) => at(Math.max(linkFreeAt, now) + trip, () => answering && answered()),
    onFull: () => full++,
    onBlind: () => blind++,
    onRoom: () => write()
  })
  if (known) flight.onRtt(trip) // as the session's first ping tells, on a network at rest
  let writing = true
  const send = (size: number) => {
    linkFreeAt = Math.max(linkFreeAt, now) + size / rate
    sent += size
    at(linkFreeAt + trip / 2, () => {
      arrived += size
    })
    at(linkFreeAt + trip, () => {
      credit = arrived
      write()
    })
    flight.onSent(size)
  }
  const write = () => {
    for (;;) {
      const left = Math.min(64 * kib, window - (sent - credit))
      const size = writing && left > 0 ? flight.reserve(left) : 0
      if (size === 0) return
      send(size)
    }
  }
  return {
    flight,
    get full() {
      return full
    },
    /** How long a key stroke would take now, in milliseconds. */
    get delay() {
      return Math.max(linkFreeAt - now, 0) + trip / 2
    },
    send,
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

describe("a flight", () => {
  it("never makes a key stroke wait for a second on a link of 20 KiB/s", () => {
    const link = makeFlight({ rate: 20, trip: 5 })
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
      "a slow one": { rate: 20, trip: 5 },
      "a fast and long one": { rate: 50_000, trip: 40 },
      "a loopback": { rate: 400_000, trip: 0.1 },
      "a long and slow one": { rate: 100, trip: 600 }
    })
  ) {
    it(`fills a network, and puts little more into it: ${name}`, () => {
      const { rate, trip } = network
      const link = makeFlight(network)
      link.run(20 * trip + 2000)
      expect(link.run(1000 + 10 * trip)).toBeGreaterThan(0.9 * rate * (1000 + 10 * trip))
      // what it holds, as much again or what passes in 5 ms, and the least that is worth while
      expect(link.flight.window).toBeLessThan(2 * (rate * (trip + Math.max(trip, 5)) + 8 * kib))
    })
  }

  describe.each([
    ["a loopback", { rate: 400_000, trip: 0.1 }],
    ["a fast local network", { rate: 1_000_000, trip: 0.2 }],
    ["a fast and long one", { rate: 50_000, trip: 40 }],
    ["a slow one", { rate: 20, trip: 5 }]
  ])("while small frames pass large ones on %s", (_name, network) => {
    const { rate, trip } = network
    /** Types for so long, every 10 ms, and answers how much arrived and how long each key stroke takes. */
    const typing = (link: ReturnType<typeof makeFlight>, millis: number) => {
      const delays: Array<number> = []
      let bytes = 0
      for (let i = 0; i < millis / 10; i++) {
        link.send(64)
        delays.push(link.delay - trip / 2)
        bytes += link.run(10)
      }
      return { bytes, longest: Math.max(...delays) }
    }

    it("keeps little more on its way than the network carries and as much again, and still fills most of it", () => {
      const link = makeFlight(network)
      link.run(20 * trip + 2000)
      typing(link, 10 * trip + 1000)
      const { bytes, longest } = typing(link, 10 * trip + 1000)
      expect(longest).toBeLessThan(1.5 * Math.max(trip, Math.min(link.flight.window, 64 * kib) / rate))
      expect(bytes).toBeGreaterThan(0.7 * rate * (10 * trip + 1000))
    })

    it("does so, too, where the window of a stream had kept less on its way than the network may hold", () => {
      const link = makeFlight(network, { window: 512 * kib })
      link.run(20 * trip + 2000)
      typing(link, 10 * trip + 1000)
      const { longest } = typing(link, 10 * trip + 1000)
      expect(longest).toBeLessThan(1.5 * Math.max(trip, Math.min(link.flight.window, 64 * kib) / rate))
    })

    it("goes back to what is good for large ones 100 ms after the last of them", () => {
      const link = makeFlight(network)
      link.run(20 * trip + 2000)
      typing(link, 100)
      const { inFlight } = link.flight
      link.run(80)
      expect(link.flight.inFlight).toBeLessThan(1.3 * inFlight + 16 * kib)
      link.run(20 + 2 * trip)
      expect(link.flight.inFlight).toBeGreaterThan(0.6 * link.flight.window)
    })
  })

  it("follows a network that carries less than it did", () => {
    const network = { rate: 10_000, trip: 20 }
    const link = makeFlight(network)
    link.run(2000)
    network.rate = 100
    const slow = makeFlight(network)
    slow.run(2000)
    expect(slow.flight.window).toBeLessThan(link.flight.window / 20)
  })

  it("does not grow for a writer that it does not hold back", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    const { window: limit } = link.flight
    link.rest()
    for (let i = 0; i < 100; i++) {
      link.send(8 * kib)
      link.run(100)
    }
    expect(link.flight.window).toBe(limit)
  })

  it("lets small frames pass when it is full, within reason", () => {
    const link = makeFlight({ rate: 1, trip: 10 })
    link.run(0)
    expect([link.full, link.flight.reserve(64 * kib), link.flight.reserve(64)]).toEqual([1, 0, 64])
    for (let i = 0; i < 1000 && link.flight.reserve(kib) > 0; i++) link.send(kib)
    expect(link.flight.inFlight).toBeLessThanOrEqual(2 * link.flight.window + kib)
    expect(link.flight.reserve(1)).toBe(0)
  })

  it("stands aside for a peer that has never answered a ping", () => {
    const link = makeFlight({ rate: 1000, trip: 10 }, { known: false })
    link.silence()
    link.run(100)
    expect(link.flight.overdueProbe).toBeDefined()
    link.rest()
    link.flight.onProbeTimeout()
    expect([link.flight.overdueProbe, link.flight.reserve(1e9)]).toEqual([undefined, 1e9])
  })

  it("does not hold large frames back for small ones of a peer that never answers", () => {
    const link = makeFlight({ rate: 1000, trip: 10 }, { known: false })
    link.silence()
    link.run(100)
    link.send(64)
    link.rest()
    link.flight.onProbeTimeout()
    link.send(1e6)
    link.send(64)
    expect([link.flight.overdueProbe, link.flight.reserve(64 * kib)]).toEqual([undefined, 64 * kib])
  })

  it("asks again when the answers of a peer got lost that has answered before", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    const { overdueProbe: overdue } = link.flight
    expect([overdue !== undefined, link.flight.reserve(64 * kib)]).toEqual([true, 0])
    link.flight.onProbeTimeout()
    expect(link.flight.reserve(64 * kib)).toBe(0)
    expect(link.flight.overdueProbe).toBe(overdue)
  })

  it("Flight lifts its limit when answers are overdue twice and the peer returns credit", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    link.rest()
    link.flight.onCredit()
    link.flight.onProbeTimeout()
    expect([link.flight.reserve(64 * kib), link.blind]).toEqual([0, 0])
    link.flight.onProbeTimeout()
    expect([link.flight.overdueProbe, link.flight.reserve(1e9), link.blind]).toEqual([undefined, 1e9, 1])
  })

  it("Flight keeps its limit when answers are overdue and no credit comes back", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    for (let i = 0; i < 10; i++) link.flight.onProbeTimeout()
    expect([link.flight.reserve(64 * kib), link.blind]).toEqual([0, 0])
  })

  it("Flight limits again from its start when a peer answers that had stopped", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    link.rest()
    link.flight.onCredit()
    link.flight.onProbeTimeout()
    link.flight.onProbeTimeout()
    expect(link.flight.window).toBe(Infinity)
    link.silence(false)
    link.flight.onRtt(10) // the keep-alive's ping has been answered
    expect(link.flight.window).toBe(16 * kib)
    link.run(100)
    expect([link.flight.inFlight, link.flight.reserve(64 * kib)]).toEqual([0, 16 * kib])
  })
})
