import { describe, expect, it } from "@effect/vitest"
import {
  type Clock,
  largeRead,
  leastFrames,
  millisPerTurn,
  mostFrames,
  ReadBudget,
  SlicedReader,
  slowSlice
} from "../../../../../src/internal/transport/node/readBudget.js"

/** An event loop that a test turns: first reads, then their callbacks, each with its microtasks. */
class Loop implements Clock {
  time = 0
  #afterReads: Array<() => void> = []
  #afterMicrotasks: Array<() => void> = []
  readonly now = () => this.time
  readonly afterReads = (callback: () => void) => void this.#afterReads.push(callback)
  readonly afterMicrotasks = (callback: () => void) => void this.#afterMicrotasks.push(callback)

  /** Runs the callbacks that wait for the end of this turn's reads. Returns false when there are none. */
  turn(): boolean {
    const due = this.#afterReads.splice(0)
    for (const callback of due) {
      callback()
      while (this.#afterMicrotasks.length > 0) this.#afterMicrotasks.shift()!()
    }
    return due.length > 0
  }
}

/** A socket whose frames are single bytes, each with a cost in milliseconds. A paused socket reads no bytes. */
const makeSocket = (loop: Loop, budget: ReadBudget, cost: number) => {
  const socket = {
    cost,
    handled: [] as Array<number>,
    isPaused: false,
    receive(bytes: Buffer): void {
      expect(socket.isPaused).toBe(false)
      socket.isPaused = !reader.take(bytes)
    },
    finish: () => reader.finish(),
    drop: () => reader.drop()
  }
  const reader = new SlicedReader(
    (bytes, frames) => {
      const taken = Math.min(bytes.length, frames)
      socket.handled.push(...bytes.subarray(0, taken))
      loop.time += taken * socket.cost
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
  return { budget, loop, sockets: Array.from({ length: count }, () => makeSocket(loop, budget, cost)) }
}

/** Returns `count` frames with the numbers 0 to 250 in a cycle. */
const frames = (count: number): Buffer => Buffer.from(Array.from({ length: count }, (_, i) => i % 251))

describe("SlicedReader", () => {
  it("SlicedReader handles a read at once when it has at most a slice of frames", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(mostFrames))
    expect(socket!.handled).toEqual([...frames(mostFrames)])
    expect(socket!.isPaused).toBe(false)
    expect(loop.turn()).toBe(false)
  })

  it("SlicedReader pauses its socket until the rest of a read is handled in order", () => {
    const { loop, sockets: [socket] } = make(1, slowSlice / mostFrames)
    const bytes = frames(mostFrames * 8 + 1)
    socket!.receive(bytes)
    bytes.fill(0) // the test reuses the memory
    const slices = [socket!.handled.length / mostFrames]
    while (socket!.isPaused) {
      loop.turn()
      slices.push(Math.floor(socket!.handled.length / mostFrames))
    }
    expect(slices).toEqual([1, 4, 7, 8])
    expect(socket!.handled).toEqual([...frames(mostFrames * 8 + 1)])
  })

  it("SlicedReader handles many slices in one turn when slices take little time", () => {
    const { loop, sockets: [socket] } = make(1, millisPerTurn / mostFrames / 10)
    socket!.receive(frames(mostFrames * 20))
    loop.turn()
    expect(socket!.handled).toHaveLength(mostFrames * 11)
    loop.turn()
    expect(socket!.isPaused).toBe(false)
  })

  it("SlicedReader shares a turn among sockets in their order, one slice each", () => {
    const { loop, sockets } = make(16, millisPerTurn / mostFrames / 4)
    for (const socket of sockets) socket.receive(frames(mostFrames * 3))
    const slices = () => sockets.map(({ handled }) => handled.length / mostFrames)
    expect(slices()).toEqual(Array.from({ length: 16 }, () => 1))
    loop.turn()
    expect(slices()).toEqual(Array.from({ length: 16 }, (_, i) => i < 4 ? 2 : 1))
    loop.turn()
    expect(slices()).toEqual(Array.from({ length: 16 }, (_, i) => i < 8 ? 2 : 1))
  })

  it("SlicedReader makes slices smaller when they take long, and larger when they do not", () => {
    const { budget, loop, sockets: [costly, cheap] } = make(2, 0)
    costly!.cost = 1
    costly!.receive(frames(mostFrames * 4))
    const sizes = [budget.frames]
    while (costly!.isPaused) {
      loop.turn()
      sizes.push(budget.frames)
    }
    expect(sizes.slice(0, 5)).toEqual([48, 24, 12, 6, leastFrames])
    cheap!.receive(frames(1000))
    loop.turn()
    expect(budget.frames).toBe(mostFrames)
  })

  it("SlicedReader handles a small read at once when other sockets wait", () => {
    const { loop, sockets: [small, ...flooding] } = make(17, 1)
    for (const socket of flooding) socket.receive(frames(1000))
    loop.turn()
    small!.receive(frames(3))
    expect(small!.handled).toHaveLength(3)
    expect(small!.isPaused).toBe(false)
  })

  it("SlicedReader pauses after a large read when the time of the turn is spent", () => {
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

  it("SlicedReader keeps the order of bytes that arrive while its socket is about to pause", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(100))
    socket!.isPaused = false
    socket!.receive(frames(100))
    while (loop.turn());
    expect(socket!.handled).toEqual([...frames(100), ...frames(100)])
  })

  it("SlicedReader pins no memory beside its waiting bytes when more bytes arrive", () => {
    const loop = new Loop()
    const pinned: Array<number> = []
    const reader = new SlicedReader(
      (bytes) => {
        pinned.push(bytes.buffer.byteLength)
        return pinned.length === 1 ? 1 : bytes.length
      },
      () => {},
      new ReadBudget(loop)
    )
    reader.take(Buffer.alloc(100))
    reader.take(Buffer.alloc(50))
    while (loop.turn());
    expect(pinned).toEqual([100, 149])
  })

  it("SlicedReader.drop drops all waiting bytes", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(1000))
    socket!.drop()
    socket!.isPaused = false
    socket!.receive(frames(1000))
    while (loop.turn());
    expect(socket!.handled).toHaveLength(mostFrames)
  })

  it("SlicedReader.finish handles all waiting bytes at once", () => {
    const { loop, sockets: [socket] } = make(1, 1)
    socket!.receive(frames(1000))
    socket!.finish()
    expect(socket!.handled).toEqual([...frames(1000)])
    while (loop.turn());
    socket!.isPaused = false
    socket!.receive(frames(1000))
    socket!.drop() // the close event follows the error event
    expect(socket!.handled).toHaveLength(2000)
  })
})

describe("ReadBudget", () => {
  it("ReadBudget runs the other slices when one throws", () => {
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
