import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { BoundedByteQueue } from "../../../../src/internal/recv/boundedByteQueue.js"
import { bytes, concat, pattern, text } from "../../../support/bytes.js"

const maxUint32 = 0xffff_ffff

const source = pattern(1 << 20)
const repeated = concat([source, source, source, source])

const retained = (chunks: ReadonlyArray<Uint8Array>): number =>
  Array.from(new Set(chunks.map((chunk) => chunk.buffer)), (buffer) => buffer.byteLength).reduce((a, b) => a + b, 0)

/** A queue with a window of `capacity` bytes, of which the peer has `granted` as credit. */
const makeQueue = (capacity = 1e12, granted = capacity): BoundedByteQueue => {
  const queue = new BoundedByteQueue()
  queue.open(capacity, granted)
  return queue
}

const queueOf = (...chunks: ReadonlyArray<Uint8Array>): BoundedByteQueue => {
  const queue = makeQueue()
  for (const chunk of chunks) queue.offer(chunk)
  return queue
}

describe("BoundedByteQueue", () => {
  const length = FastCheck.oneof(
    FastCheck.integer({ min: 0, max: 40 }),
    FastCheck.integer({ min: 1000, max: 1050 }),
    FastCheck.integer({ min: 0, max: 20_000 })
  )
  const operation = FastCheck.oneof(
    {
      weight: 5,
      arbitrary: FastCheck.record({ kind: FastCheck.constant("offer" as const), length, own: FastCheck.boolean() })
    },
    { weight: 3, arbitrary: FastCheck.constant({ kind: "take" as const }) },
    { weight: 1, arbitrary: FastCheck.constant({ kind: "takeAll" as const }) }
  )

  it.prop(
    "BoundedByteQueue returns all bytes in order for any sizes and operations",
    [FastCheck.array(operation, { maxLength: 50, size: "max" })],
    ([operations]) => {
      const queue = makeQueue()
      const taken: Array<Uint8Array> = []
      let offered = 0
      let left = 0
      const take = (chunks: ReadonlyArray<Uint8Array>) => {
        for (const chunk of chunks) {
          expect(chunk.byteLength).toBeGreaterThan(0)
          left += chunk.byteLength
          taken.push(chunk)
        }
      }
      for (const operation of operations) {
        if (operation.kind === "offer") {
          const chunk = source.subarray(offered, offered += operation.length)
          queue.offer(operation.own ? chunk.slice() : chunk)
        } else if (operation.kind === "takeAll") {
          take(queue.takeAll())
        } else {
          const chunk = queue.take()
          expect(chunk === undefined).toBe(left === offered)
          if (chunk !== undefined) take([chunk])
        }
        expect(queue.size).toBe(offered - left)
      }
      const size = queue.size
      const rest = queue.takeAll()
      // besides one segment, unread bytes are at least a quarter of the retained memory
      expect(retained(rest)).toBeLessThanOrEqual(4 * size + 16 * 1024)
      take(rest)
      expect([left, queue.size, queue.take(), queue.takeAll()]).toEqual([offered, 0, undefined, []])
      // The test compares at the end, as later operations must not change taken chunks.
      expect(Buffer.compare(concat(taken), source.subarray(0, offered))).toBe(0)
    },
    { fastCheck: { numRuns: 300 } }
  )

  it("BoundedByteQueue merges a storm of single bytes into few chunks", () => {
    const queue = makeQueue()
    const million = source.subarray(0, 1_000_000)
    for (let i = 0; i < million.length; i++) queue.offer(million.subarray(i, i + 1))
    expect(queue.size).toBe(1_000_000)
    const chunks = queue.takeAll()
    expect(chunks.length).toBeLessThan(100)
    expect(retained(chunks)).toBeLessThan(1_100_000)
    expect(Buffer.compare(concat(chunks), million)).toBe(0)
  })

  it("BoundedByteQueue opens no segment when a single byte follows each large chunk", () => {
    const queue = makeQueue()
    for (let i = 0; i < 100; i++) {
      queue.offer(pattern(1024))
      queue.offer(bytes("x"))
    }
    expect(queue.size).toBe(102_500)
    expect(retained(queue.takeAll())).toBe(102_500)
  })

  it("BoundedByteQueue keeps the order of 5000 chunks when take and takeAll alternate", () => {
    const sizes = Array.from({ length: 5000 }, (_, i) => i % 3 === 0 ? 1 : 1024 + i % 7)
    const queue = makeQueue()
    const taken: Array<Uint8Array> = []
    let offered = 0
    for (const [i, size] of sizes.entries()) {
      queue.offer(repeated.subarray(offered, offered += size))
      if (i >= 3000 && i % 2 === 0) taken.push(queue.take()!)
    }
    for (let i = 0; i < 900; i++) taken.push(queue.take()!)
    queue.offer(repeated.subarray(offered, offered += 5))
    expect(queue.size).toBe(offered - concat(taken).byteLength)
    taken.push(...queue.takeAll())
    expect(Buffer.compare(concat(taken), repeated.subarray(0, offered))).toBe(0)
    expect([queue.size, queue.take(), queue.takeAll()]).toEqual([0, undefined, []])
  })

  it("BoundedByteQueue keeps chunk boundaries when a small chunk lies between large ones", () => {
    const [a, b, c] = [pattern(3000), bytes("small"), pattern(2000)]
    expect(queueOf(a, b, c).takeAll()).toEqual([a, b, c])
  })

  it("BoundedByteQueue returns a large chunk without a copy", () => {
    const chunk = pattern(5000)
    expect(queueOf(chunk).take()).toBe(chunk)
    const most = chunk.subarray(5) // a message without its header
    expect(queueOf(most).take()).toBe(most)
  })

  it("BoundedByteQueue copies no chunk from 1024 bytes and four fifths of its buffer on", () => {
    const chunk = pattern(1024)
    expect(queueOf(chunk).take()).toBe(chunk)
    const most = pattern(3000).subarray(600)
    expect(queueOf(most).take()).toBe(most)
  })

  it.prop(
    "BoundedByteQueue holds at most a quarter more than its bytes for any views",
    [
      FastCheck.array(
        FastCheck.record({
          length: FastCheck.oneof(length, FastCheck.constantFrom(1, 1023, 1024)),
          part: FastCheck.nat(100)
        }),
        { maxLength: 60, size: "max" }
      ),
      FastCheck.nat(20)
    ],
    ([offers, taken]) => {
      const queue = makeQueue()
      const offered = offers.reduce((sum, { length }) => sum + length, 0)
      for (const { length, part } of offers) {
        queue.offer(new Uint8Array(Math.ceil(length * (1 + part / 25))).subarray(0, length))
      }
      for (let i = 0; i < Math.min(taken, offers.length - 1); i++) queue.take()
      const { size } = queue
      // The last segment also has spare room: a quarter of the bytes in the queue when the segment was opened.
      const spare = Math.min(16 * 1024, offered / 4)
      expect(retained(queue.takeAll())).toBeLessThanOrEqual(1.25 * size + spare + 64)
    },
    { fastCheck: { numRuns: 500 } }
  )

  it("BoundedByteQueue merges small chunks when takes come between them", () => {
    const queue = queueOf(bytes("a"), bytes("b"))
    expect(text(queue.take()!)).toBe("a")
    queue.offer(bytes("c"))
    expect(queue.takeAll().map(text)).toEqual(["bc"])
  })

  for (const length of [1, 1023, 1024, 400_000]) {
    it(`BoundedByteQueue copies a view of ${length} bytes of a large buffer`, () => {
      const chunks = queueOf(source.subarray(77, 77 + length)).takeAll()
      expect(retained(chunks)).toBe(length)
      expect(Buffer.compare(concat(chunks), source.subarray(77, 77 + length))).toBe(0)
    })
  }

  it("BoundedByteQueue copies a small view of a large Buffer", () => {
    const buffer = Buffer.from(source.buffer, source.byteOffset, source.byteLength)
    for (const length of [1, 1023, 1024, 400_000]) {
      expect(retained(queueOf(buffer.subarray(77, 77 + length)).takeAll())).toBe(length)
    }
  })

  it("BoundedByteQueue leaves taken chunks unchanged when more bytes are offered", () => {
    const queue = queueOf(bytes("a"), bytes("b"), bytes("c"))
    const first = queue.takeAll()
    queue.offer(bytes("d"))
    const second = queue.take()!
    queue.offer(bytes("e"))
    expect([text(concat(first)), text(second), text(concat(queue.takeAll()))]).toEqual(["abc", "d", "e"])
  })

  it("BoundedByteQueue ignores a chunk without bytes", () => {
    const queue = queueOf(new Uint8Array(0))
    expect([queue.size, queue.take(), queue.takeAll()]).toEqual([0, undefined, []])
  })
})

/** Sizes at both ends of the uint32 range, for overflows. */
const windowSize = FastCheck.oneof(
  FastCheck.integer({ min: 0, max: 20 }),
  FastCheck.integer({ min: 0, max: maxUint32 }),
  FastCheck.integer({ min: maxUint32 - 20, max: maxUint32 })
)

describe("BoundedByteQueue", () => {
  const state = ({ capacity, granted, size }: BoundedByteQueue) => ({ capacity, granted, size })

  /** Offers chunks of the given sizes in KiB. Chunks of this size are not merged. */
  const offer = (queue: BoundedByteQueue, ...sizes: ReadonlyArray<number>) =>
    sizes.map((size) => queue.offer(source.subarray(0, size * 1024)) / 1024)

  /** Takes a chunk, and returns the credit that is due after that. */
  const take = (queue: BoundedByteQueue) => {
    queue.take()
    return queue.returnCredit()
  }

  it("BoundedByteQueue stores no bytes before it is opened", () => {
    const queue = new BoundedByteQueue()
    expect([queue.offer(bytes("x")), queue.take(), state(queue)])
      .toEqual([0, undefined, { capacity: 0, granted: 0, size: 0 }])
  })

  it("BoundedByteQueue counts its chunks", () => {
    const queue = makeQueue()
    expect([queue.count, offer(queue, 1, 2, 3), queue.count]).toEqual([0, [1, 2, 3], 3])
    queue.take()
    expect([queue.count, queue.takeAll().length, queue.count]).toEqual([2, 2, 0])
  })

  it("BoundedByteQueue returns credit in halves of the window", () => {
    const queue = makeQueue(100 * 1024)
    expect([offer(queue, 49, 1, 10), queue.granted]).toEqual([[49, 1, 10], 40 * 1024])
    expect([take(queue), take(queue), take(queue)]).toEqual([0, 50 * 1024, 0])
    expect(state(queue)).toEqual({ capacity: 100 * 1024, granted: 90 * 1024, size: 0 })
  })

  it("BoundedByteQueue keeps the bytes that fit when a chunk exceeds the credit", () => {
    const queue = makeQueue(10)
    expect([queue.offer(bytes("1234567")), queue.offer(bytes("89ab")), queue.offer(bytes("c"))]).toEqual([7, 3, 0])
    expect([state(queue), text(concat(queue.takeAll()))])
      .toEqual([{ capacity: 10, granted: 0, size: 10 }, "123456789a"])
  })

  it("BoundedByteQueue cuts a large chunk at the credit", () => {
    const queue = makeQueue(3000)
    expect(queue.offer(source.subarray(0, 5000))).toBe(3000)
    expect(Buffer.compare(concat(queue.takeAll()), source.subarray(0, 3000))).toBe(0)
  })

  it("BoundedByteQueue grants the difference when the peer starts with less credit", () => {
    const queue = new BoundedByteQueue()
    expect([queue.open(100, 30), state(queue)]).toEqual([70, { capacity: 100, granted: 100, size: 0 }])
  })

  it("BoundedByteQueue returns no credit until the surplus of the peer is used", () => {
    const queue = new BoundedByteQueue()
    expect([queue.open(100 * 1024, 250 * 1024), offer(queue, 150, 49, 1, 50)]).toEqual([0, [150, 49, 1, 50]])
    expect([take(queue), take(queue), take(queue)]).toEqual([0, 0, 50 * 1024])
    expect(state(queue)).toEqual({ capacity: 100 * 1024, granted: 50 * 1024, size: 50 * 1024 })
  })

  it("BoundedByteQueue grants its growth and then returns credit by its new capacity", () => {
    const queue = makeQueue(100 * 1024)
    expect([queue.grow(60 * 1024), state(queue)])
      .toEqual([60 * 1024, { capacity: 160 * 1024, granted: 160 * 1024, size: 0 }])
    expect([offer(queue, 79, 1, 80), take(queue), take(queue)]).toEqual([[79, 1, 80], 0, 80 * 1024])
  })

  it("BoundedByteQueue returns each byte when its capacity is one byte", () => {
    const queue = makeQueue(1)
    const turn = () => [queue.offer(bytes("x")), take(queue)]
    expect([turn(), turn()]).toEqual([[1, 1], [1, 1]])
  })

  it("BoundedByteQueue returns 256 KiB of credit at a time when its capacity is 1 MiB", () => {
    const queue = makeQueue(1024 * 1024)
    queue.offer(source.subarray(0, 256 * 1024 - 1))
    queue.offer(bytes("x"))
    queue.offer(source.subarray(0, 2048))
    expect([take(queue), take(queue), take(queue)]).toEqual([0, 256 * 1024, 0])
  })

  it("BoundedByteQueue.discard uses credit and stores no bytes", () => {
    const queue = makeQueue(100)
    expect([queue.discard(49), queue.returnCredit(), queue.discard(1), queue.returnCredit(), queue.discard(101)])
      .toEqual([49, 0, 1, 50, 100])
    expect(state(queue)).toEqual({ capacity: 100, granted: 0, size: 0 })
  })

  const share = FastCheck.double({ min: 0, max: 1, noNaN: true })
  const operation = FastCheck.oneof(
    FastCheck.record({ kind: FastCheck.constant("offer" as const), bytes: FastCheck.nat(5000) }),
    FastCheck.record({ kind: FastCheck.constant("discard" as const), bytes: windowSize }),
    FastCheck.record({ kind: FastCheck.constant("discardShare" as const), share }),
    FastCheck.record({ kind: FastCheck.constant("take" as const) }),
    FastCheck.record({ kind: FastCheck.constant("takeAll" as const) })
  )

  it.prop(
    "BoundedByteQueue keeps its credit, its bound and its writers for any operations",
    [FastCheck.oneof(FastCheck.constant(1), FastCheck.nat(20_000), windowSize), windowSize, FastCheck.array(operation)],
    ([capacity, believed, operations]) => {
      const queue = new BoundedByteQueue()
      const bound = Math.max(capacity, believed)
      let credit = believed + queue.open(capacity, believed)
      let unread = 0
      const check = () => {
        expect(state(queue)).toEqual({ capacity, granted: credit, size: unread })
        expect(Math.min(credit, unread)).toBeGreaterThanOrEqual(0)
        expect(credit + unread).toBeLessThanOrEqual(bound)
      }
      const returnCredit = () => {
        const returned = queue.returnCredit()
        credit += returned
        check()
        // either 0, or at least half a window or 256 KiB, and exactly up to the capacity
        if (returned > 0) {
          expect([returned >= Math.min(capacity / 2, 256 * 1024), credit + unread]).toEqual([true, capacity])
        }
        if (capacity > 0) expect((credit + unread) * 2).toBeGreaterThan(capacity)
      }
      check()
      expect(credit).toBeGreaterThanOrEqual(capacity)
      for (const operation of operations) {
        switch (operation.kind) {
          case "offer": {
            const fit = queue.offer(source.subarray(0, operation.bytes))
            expect(fit).toBe(Math.min(operation.bytes, credit))
            unread += fit
            credit -= fit
            check()
            break
          }
          case "discard":
          case "discardShare": {
            const bytes = operation.kind === "discard" ? operation.bytes : Math.round(operation.share * credit)
            const fit = queue.discard(bytes)
            expect(fit).toBe(Math.min(bytes, credit))
            credit -= fit
            check()
            returnCredit()
            break
          }
          case "take":
            unread -= queue.take()?.byteLength ?? 0
            returnCredit()
            break
          case "takeAll":
            unread -= concat(queue.takeAll()).byteLength
            expect(unread).toBe(0)
            returnCredit()
        }
      }
      queue.takeAll()
      unread = 0
      returnCredit()
      if (capacity > 0) expect(credit * 2).toBeGreaterThan(capacity)
    },
    { fastCheck: { numRuns: 500 } }
  )
})
