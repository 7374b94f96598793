import { describe, expect, it } from "@effect/vitest"
import { Flight } from "../../src/internal/flight.js"

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
  const events: Array<{ readonly at: number; readonly happens: () => void }> = []
  const at = (time: number, happens: () => void) => {
    events.push({ at: time, happens })
    events.sort((a, b) => a.at - b.at)
  }
  const flight = new Flight({
    now: () => now,
    ping: (answered) => at(Math.max(linkFreeAt, now) + trip, () => answering && answered()),
    onFull: () => full++,
    onRoom: () => write()
  })
  if (known) flight.roundTrip(trip) // as the session's first ping tells, on a network at rest
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
    flight.sends(size)
  }
  const write = () => {
    for (;;) {
      const left = Math.min(64 * kib, window - (sent - credit))
      const size = writing && left > 0 ? flight.room(left) : 0
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
    silence: () => {
      answering = false
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
      expect(link.flight.limit).toBeLessThan(2 * (rate * (trip + Math.max(trip, 5)) + 8 * kib))
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
      expect(longest).toBeLessThan(1.5 * Math.max(trip, Math.min(link.flight.limit, 64 * kib) / rate))
      expect(bytes).toBeGreaterThan(0.7 * rate * (10 * trip + 1000))
    })

    it("does so, too, where the window of a stream had kept less on its way than the network may hold", () => {
      const link = makeFlight(network, { window: 512 * kib })
      link.run(20 * trip + 2000)
      typing(link, 10 * trip + 1000)
      const { longest } = typing(link, 10 * trip + 1000)
      expect(longest).toBeLessThan(1.5 * Math.max(trip, Math.min(link.flight.limit, 64 * kib) / rate))
    })

    it("goes back to what is good for large ones 100 ms after the last of them", () => {
      const link = makeFlight(network)
      link.run(20 * trip + 2000)
      typing(link, 100)
      const { inFlight } = link.flight
      link.run(80)
      expect(link.flight.inFlight).toBeLessThan(1.3 * inFlight + 16 * kib)
      link.run(20 + 2 * trip)
      expect(link.flight.inFlight).toBeGreaterThan(0.6 * link.flight.limit)
    })
  })

  it("follows a network that carries less than it did", () => {
    const network = { rate: 10_000, trip: 20 }
    const link = makeFlight(network)
    link.run(2000)
    network.rate = 100
    const slow = makeFlight(network)
    slow.run(2000)
    expect(slow.flight.limit).toBeLessThan(link.flight.limit / 20)
  })

  it("does not grow for a writer that it does not hold back", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    const { limit } = link.flight
    link.rest()
    for (let i = 0; i < 100; i++) {
      link.send(8 * kib)
      link.run(100)
    }
    expect(link.flight.limit).toBe(limit)
  })

  it("lets small frames pass when it is full, within reason", () => {
    const link = makeFlight({ rate: 1, trip: 10 })
    link.run(0)
    expect([link.full, link.flight.room(64 * kib), link.flight.room(64)]).toEqual([1, 0, 64])
    for (let i = 0; i < 1000 && link.flight.room(kib) > 0; i++) link.send(kib)
    expect(link.flight.inFlight).toBeLessThanOrEqual(2 * link.flight.limit + kib)
    expect(link.flight.room(1)).toBe(0)
  })

  it("stands aside for a peer that has never answered a ping", () => {
    const link = makeFlight({ rate: 1000, trip: 10 }, { known: false })
    link.silence()
    link.run(100)
    expect(link.flight.overdue).toBeDefined()
    link.rest()
    link.flight.retry()
    expect([link.flight.overdue, link.flight.room(1e9)]).toEqual([undefined, 1e9])
  })

  it("does not hold large frames back for small ones of a peer that never answers", () => {
    const link = makeFlight({ rate: 1000, trip: 10 }, { known: false })
    link.silence()
    link.run(100)
    link.send(64)
    link.rest()
    link.flight.retry()
    link.send(1e6)
    link.send(64)
    expect([link.flight.overdue, link.flight.room(64 * kib)]).toEqual([undefined, 64 * kib])
  })

  it("asks again when the answers of a peer got lost that has answered before", () => {
    const link = makeFlight({ rate: 1000, trip: 10 })
    link.silence()
    link.run(100)
    const { overdue } = link.flight
    expect([overdue !== undefined, link.flight.room(64 * kib)]).toEqual([true, 0])
    link.flight.retry()
    expect(link.flight.room(64 * kib)).toBe(0)
    expect(link.flight.overdue).toBe(overdue)
  })
})

/** A flight whose answers come when the test says so. `known` is the round trip that was measured before. */
const makeManual = (known?: number) => {
  let now = 0
  let rooms = 0
  let full = 0
  const pings: Array<() => void> = []
  const flight = new Flight({
    now: () => now,
    ping: (answered) => pings.push(answered),
    onFull: () => full++,
    onRoom: () => rooms++
  })
  if (known !== undefined) flight.roundTrip(known)
  const fill = () => {
    for (let size = flight.room(64 * kib); size > 0; size = flight.room(64 * kib)) flight.sends(size)
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
      flight.sends(sent)
      return flight.room(wanted)
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
    expect([flight.limit, flight.room(1e6)]).toEqual([131_072, 32_768])
    const cut = makeManual(10)
    cut.fill()
    cut.answer(100)
    cut.flight.sends(1)
    expect([cut.flight.limit, cut.flight.room(1e6)]).toEqual([16_384 * 0.7, 11_467])
  })

  it("is told once when there is none, and once when there is some again", () => {
    const { answer, fill, flight, told } = makeManual(10)
    expect([told(), flight.overdue]).toEqual([[0, 0], undefined])
    fill()
    fill()
    expect([told(), flight.overdue !== undefined]).toEqual([[1, 0], true])
    answer(10)
    expect([told(), flight.overdue]).toEqual([[1, 1], undefined])
    fill()
    expect(told()).toEqual([2, 1])
  })
})

describe("the pings of a flight", () => {
  it("come after half of a small limit, and no more than six at once", () => {
    const { answer, flight, pings } = makeManual()
    flight.sends(8191)
    expect(pings).toHaveLength(0)
    flight.sends(1)
    expect(pings).toHaveLength(1)
    for (let i = 0; i < 9; i++) flight.sends(8192)
    expect([pings.length, flight.inFlight]).toEqual([6, 10 * 8192])
    answer(10)
    expect(flight.inFlight).toBe(9 * 8192)
    flight.sends(1)
    expect(pings).toHaveLength(6)
  })

  it("come after 256 KiB of a larger limit, or a quarter of a very large one", () => {
    const { answer, fill, flight, pings } = makeManual(10)
    const bytesToPing = () => {
      let sent = 0
      const before = pings.length
      for (; pings.length === before; sent += kib) flight.sends(kib)
      return sent
    }
    for (const least of [512 * kib, 2048 * kib]) {
      while (flight.limit < least) {
        fill()
        while (pings.length > 0) answer(0)
      }
      expect(bytesToPing()).toBe(Math.max(flight.limit / 4, 256 * kib))
      while (pings.length > 0) answer(0)
    }
  })

  it("answer for those before them, whose own answers say nothing any more", () => {
    const { answer, flight } = makeManual()
    for (let i = 0; i < 3; i++) flight.sends(8192)
    answer(10, 1)
    expect(flight.inFlight).toBe(8192)
    answer(10)
    expect(flight.inFlight).toBe(8192)
    answer(10)
    expect(flight.inFlight).toBe(0)
  })

  it("are asked again when they are overdue; the oldest of six is forgotten", () => {
    const { answer, flight, pings } = makeManual(10)
    for (let i = 0; i < 5; i++) flight.sends(8192)
    flight.retry()
    expect(pings).toHaveLength(6)
    flight.retry()
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
    else flight.sends(8192)
    answer(trip)
    return flight.limit
  }

  it("doubles after a good round in which a frame was cut, though the flight was never full", () => {
    const limit = (wanted: number) => {
      const { answer, flight } = makeManual(10)
      flight.sends(flight.room(wanted))
      answer(10)
      return flight.limit
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
    const cut = flight.limit
    for (let i = 0; i < 4 && flight.limit === cut; i++) {
      fill()
      while (pings.length > 0 && flight.limit === cut) answer(5)
    }
    expect(flight.limit).toBe(cut * 1.25)
  })

  it("is never below 4 KiB, nor above 2 GiB", () => {
    const slow = makeManual(10)
    for (let i = 0; i < 20; i++) {
      slow.fill()
      slow.answer(400)
    }
    expect(slow.flight.limit).toBe(4096)
    const fast = makeManual(10)
    for (let i = 0; i < 60 && fast.flight.limit < 2 ** 31; i++) {
      fast.fill()
      while (fast.pings.length > 0) fast.answer(0)
    }
    expect(fast.flight.limit).toBe(2 ** 31)
  })

  it("believes in the least round trip of 10 s and of those before, and no longer", () => {
    const limit = (...lone: ReadonlyArray<readonly [after: number, trip: number]>) => {
      const { answer, fill, flight, pass } = makeManual(10)
      for (const [millis, trip] of lone) {
        pass(millis)
        flight.roundTrip(trip)
      }
      fill()
      answer(30)
      return flight.limit
    }
    expect([limit([9999, 50]), limit([10_000, 50]), limit([10_000, 50], [9999, 50]), limit([10_000, 50], [10_000, 50])])
      .toEqual([16_384, 16_384, 16_384, 32_768])
  })

  it("is halved for a while when a period ends, so that the next round trip is a lone one's", () => {
    const { answer, fill, flight, pass, pings, told } = makeManual(10)
    fill()
    pass(10_000)
    flight.roundTrip(10)
    flight.retry()
    expect([flight.limit, flight.room(64 * kib), told()]).toEqual([16_384, 0, [1, 0]])
    answer(10)
    expect([flight.limit, flight.inFlight, told(), pings.length]).toEqual([16_384, 0, [1, 1], 2])
  })
})
