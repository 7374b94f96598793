import { describe, expect, it } from "@effect/vitest"
import {
  type Clock,
  framesPerSlice,
  largeRead,
  millisPerTurn,
  ReadBudget,
  SlicedReader
} from "../../src/internal/transport/readBudget.js"

/** An event loop that a test turns: reads first, then what waits for them, with the microtasks of each step. */
class Loop implements Clock {
  time = 0
  #afterReads: Array<() => void> = []
  #afterMicrotasks: Array<() => void> = []
  readonly now = () => this.time
  readonly afterReads = (callback: () => void) => void this.#afterReads.push(callback)
  readonly afterMicrotasks = (callback: () => void) => void this.#afterMicrotasks.push(callback)

  /** Runs what waits for the end of the reads of this turn; false where nothing does. */
  turn(): boolean {
    const due = this.#afterReads.splice(0)
    for (const callback of due) {
      callback()
      while (this.#afterMicrotasks.length > 0) this.#afterMicrotasks.shift()!()
    }
    return due.length > 0
  }
}

/** A socket whose frames are single bytes and cost some time each; a paused one reads nothing. */
const makeSocket = (loop: Loop, budget: ReadBudget, cost: number) => {
  const socket = {
    handled: [] as Array<number>,
    isPaused: false,
    receive(bytes: Buffer): void {
      expect(socket.isPaused).toBe(false)
      socket.isPaused = !reader.take(bytes)
    },
    finish: () => reader.finish()
  }
  const reader = new SlicedReader(
    (bytes, frames) => {
      const taken = Math.min(bytes.length, frames)
      socket.handled.push(...bytes.subarray(0, taken))
      loop.time += taken * cost
      return taken
    },
    () => {
      socket.isPaused = false
    },
    budget
  )
  return socket
}

const make = (count: number, cost: number) => {
  const loop = new Loop()
  const budget = new ReadBudget(loop)
  return { loop, sockets: Array.from({ length: count }, () => makeSocket(loop, budget, cost)) }
}

/** So many frames, whose numbers go round. */
const frames = (count: number): Buffer => Buffer.from(Array.from({ length: count }, (_, i) => i % 251))

describe("SlicedReader", () => {
  it("handles a read at once when it holds no more frames than a slice", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(framesPerSlice))
    expect(socket!.handled).toEqual([...frames(framesPerSlice)])
    expect(socket!.isPaused).toBe(false)
    expect(loop.turn()).toBe(false)
  })

  it("pauses its socket until the rest of a read is handled, in order", () => {
    const { loop, sockets: [socket] } = make(1, millisPerTurn / framesPerSlice)
    const bytes = frames(framesPerSlice * 3 + 1)
    socket!.receive(bytes)
    bytes.fill(0) // the memory is used again
    const counts = [socket!.handled.length]
    while (socket!.isPaused) {
      loop.turn()
      counts.push(socket!.handled.length)
    }
    expect(counts).toEqual([64, 128, 192, 193])
    expect(socket!.handled).toEqual([...frames(framesPerSlice * 3 + 1)])
  })

  it("handles many slices in one turn while these take little time", () => {
    const { loop, sockets: [socket] } = make(1, millisPerTurn / framesPerSlice / 10)
    socket!.receive(frames(framesPerSlice * 20))
    loop.turn()
    expect(socket!.handled).toHaveLength(framesPerSlice * 11)
    loop.turn()
    expect(socket!.isPaused).toBe(false)
  })

  it("shares a turn among sockets in the order in which they came, a slice each", () => {
    const { loop, sockets } = make(16, millisPerTurn / framesPerSlice / 4)
    for (const socket of sockets) socket.receive(frames(framesPerSlice * 3))
    const slices = () => sockets.map(({ handled }) => handled.length / framesPerSlice)
    expect(slices()).toEqual(Array.from({ length: 16 }, () => 1))
    loop.turn()
    expect(slices()).toEqual(Array.from({ length: 16 }, (_, i) => i < 4 ? 2 : 1))
    loop.turn()
    expect(slices()).toEqual(Array.from({ length: 16 }, (_, i) => i < 8 ? 2 : 1))
  })

  it("lets a socket that asks for little pass those that wait", () => {
    const { loop, sockets: [small, ...flooding] } = make(17, 1)
    for (const socket of flooding) socket.receive(frames(1000))
    loop.turn()
    small!.receive(frames(3))
    expect(small!.handled).toHaveLength(3)
    expect(small!.isPaused).toBe(false)
  })

  it("gives way after a large read when the time of the turn is spent", () => {
    const { loop, sockets: [socket] } = make(1, 0)
    const bulk = Buffer.alloc(largeRead)
    const one = new SlicedReader(
      (bytes) => {
        loop.time += millisPerTurn / 2
        return bytes.length
      },
      () => {
        resumed++
      },
      new ReadBudget(loop)
    )
    let resumed = 0
    expect([one.take(bulk), one.take(bulk), one.take(bulk), resumed]).toEqual([true, true, false, 0])
    loop.turn()
    expect(resumed).toBe(1)
    expect([one.take(bulk), socket!.isPaused]).toEqual([true, false])
  })

  it("keeps what comes while its socket is about to pause, in its place", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(100))
    socket!.isPaused = false
    socket!.receive(frames(100))
    while (loop.turn());
    expect(socket!.handled).toEqual([...frames(100), ...frames(100)])
  })

  it("handles all that waits at once when its socket is gone", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(1000))
    socket!.finish()
    expect(socket!.handled).toEqual([...frames(1000)])
    while (loop.turn());
    socket!.isPaused = false
    socket!.receive(frames(1000))
    expect(socket!.handled).toHaveLength(2000)
  })
})

describe("ReadBudget", () => {
  it("goes on with the others when a slice throws", () => {
    const loop = new Loop()
    const budget = new ReadBudget(loop)
    const called: Array<string> = []
    budget.enqueue(() => {
      throw new Error("a listener that throws")
    })
    budget.enqueue(() => {
      called.push("next")
      return false
    })
    expect(() => loop.turn()).toThrow("a listener that throws")
    while (loop.turn());
    budget.enqueue(() => {
      called.push("later")
      return false
    })
    while (loop.turn());
    expect(called).toEqual(["next", "later"])
  })
})
