import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { BoundedByteQueue } from "../../../../src/internal/recv/boundedByteQueue.js"
import { bytes, concat, pattern, text } from "../../../support/bytes.js"

const source = pattern(1 << 20)
const repeated = concat([source, source, source, source])

const retained = (chunks: ReadonlyArray<Uint8Array>): number =>
  Array.from(new Set(chunks.map((chunk) => chunk.buffer)), (buffer) => buffer.byteLength).reduce((a, b) => a + b, 0)

const queueOf = (...chunks: ReadonlyArray<Uint8Array>): BoundedByteQueue => {
  const queue = new BoundedByteQueue()
  for (const chunk of chunks) queue.push(chunk)
  return queue
}

describe("a byte queue", () => {
  const length = FastCheck.oneof(
    FastCheck.integer({ min: 0, max: 40 }),
    FastCheck.integer({ min: 1000, max: 1050 }),
    FastCheck.integer({ min: 0, max: 20_000 })
  )
  const operation = FastCheck.oneof(
    {
      weight: 5,
      arbitrary: FastCheck.record({ kind: FastCheck.constant("push" as const), length, own: FastCheck.boolean() })
    },
    { weight: 3, arbitrary: FastCheck.constant({ kind: "shift" as const }) },
    { weight: 1, arbitrary: FastCheck.constant({ kind: "takeAll" as const }) }
  )

  it.prop(
    "gives what was pushed, in order, whatever the chunks",
    [FastCheck.array(operation, { maxLength: 50, size: "max" })],
    ([operations]) => {
      const queue = new BoundedByteQueue()
      const taken: Array<Uint8Array> = []
      let pushed = 0
      let left = 0
      const take = (chunks: ReadonlyArray<Uint8Array>) => {
        for (const chunk of chunks) {
          expect(chunk.byteLength).toBeGreaterThan(0)
          left += chunk.byteLength
          taken.push(chunk)
        }
      }
      for (const operation of operations) {
        if (operation.kind === "push") {
          const chunk = source.subarray(pushed, pushed += operation.length)
          queue.push(operation.own ? chunk.slice() : chunk)
        } else if (operation.kind === "takeAll") {
          take(queue.takeAll())
        } else {
          const chunk = queue.shift()
          expect(chunk === undefined).toBe(left === pushed)
          if (chunk !== undefined) take([chunk])
        }
        expect(queue.size).toBe(pushed - left)
      }
      const size = queue.size
      const rest = queue.takeAll()
      // a quarter at least of what it keeps alive is bytes that somebody waits for, beside one segment
      expect(retained(rest)).toBeLessThanOrEqual(4 * size + 16 * 1024)
      take(rest)
      expect([left, queue.size, queue.shift(), queue.takeAll()]).toEqual([pushed, 0, undefined, []])
      // compared at last, because what was taken must stay as it was
      expect(Buffer.compare(concat(taken), source.subarray(0, pushed))).toBe(0)
    },
    { fastCheck: { numRuns: 300 } }
  )

  it("merges a storm of single bytes into few chunks", () => {
    const queue = new BoundedByteQueue()
    const million = source.subarray(0, 1_000_000)
    for (let i = 0; i < million.length; i++) queue.push(million.subarray(i, i + 1))
    expect(queue.size).toBe(1_000_000)
    const chunks = queue.takeAll()
    expect(chunks.length).toBeLessThan(100)
    expect(retained(chunks)).toBeLessThan(1_100_000)
    expect(Buffer.compare(concat(chunks), million)).toBe(0)
  })

  it("spends no segment on a single byte behind each large chunk", () => {
    const queue = new BoundedByteQueue()
    for (let i = 0; i < 100; i++) {
      queue.push(pattern(1024))
      queue.push(bytes("x"))
    }
    expect(queue.size).toBe(102_500)
    expect(retained(queue.takeAll())).toBe(102_500)
  })

  it("keeps the order of very many chunks, however they are taken", () => {
    const sizes = Array.from({ length: 5000 }, (_, i) => i % 3 === 0 ? 1 : 1024 + i % 7)
    const queue = new BoundedByteQueue()
    const taken: Array<Uint8Array> = []
    let pushed = 0
    for (const [i, size] of sizes.entries()) {
      queue.push(repeated.subarray(pushed, pushed += size))
      if (i >= 3000 && i % 2 === 0) taken.push(queue.shift()!)
    }
    for (let i = 0; i < 900; i++) taken.push(queue.shift()!)
    queue.push(repeated.subarray(pushed, pushed += 5))
    expect(queue.size).toBe(pushed - concat(taken).byteLength)
    taken.push(...queue.takeAll())
    expect(Buffer.compare(concat(taken), repeated.subarray(0, pushed))).toBe(0)
    expect([queue.size, queue.shift(), queue.takeAll()]).toEqual([0, undefined, []])
  })

  it("keeps the boundaries that it need not merge", () => {
    const [a, b, c] = [pattern(3000), bytes("small"), pattern(2000)]
    expect(queueOf(a, b, c).takeAll()).toEqual([a, b, c])
  })

  it("passes a large chunk on without a copy", () => {
    const chunk = pattern(5000)
    expect(queueOf(chunk).shift()).toBe(chunk)
    const most = chunk.subarray(5) // a message without its header
    expect(queueOf(most).shift()).toBe(most)
  })

  it("passes on without a copy from 1024 bytes on, and four fifths of a buffer", () => {
    const chunk = pattern(1024)
    expect(queueOf(chunk).shift()).toBe(chunk)
    const most = pattern(3000).subarray(600)
    expect(queueOf(most).shift()).toBe(most)
  })

  it.prop(
    "holds buffers of at most a quarter more than its bytes, whatever part of theirs the chunks are",
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
    ([pushes, taken]) => {
      const queue = new BoundedByteQueue()
      const pushed = pushes.reduce((sum, { length }) => sum + length, 0)
      for (const { length, part } of pushes) {
        queue.push(new Uint8Array(Math.ceil(length * (1 + part / 25))).subarray(0, length))
      }
      for (let i = 0; i < Math.min(taken, pushes.length - 1); i++) queue.shift()
      const { size } = queue
      // beside that, the last segment has room, of a quarter of what the queue held then
      const spare = Math.min(16 * 1024, pushed / 4)
      expect(retained(queue.takeAll())).toBeLessThanOrEqual(1.25 * size + spare + 64)
    },
    { fastCheck: { numRuns: 500 } }
  )

  it("goes on merging while it is read", () => {
    const queue = queueOf(bytes("a"), bytes("b"))
    expect(text(queue.shift()!)).toBe("a")
    queue.push(bytes("c"))
    expect(queue.takeAll().map(text)).toEqual(["bc"])
  })

  for (const length of [1, 1023, 1024, 400_000]) {
    it(`does not keep a large buffer alive for a view of ${length} bytes`, () => {
      const chunks = queueOf(source.subarray(77, 77 + length)).takeAll()
      expect(retained(chunks)).toBe(length)
      expect(Buffer.compare(concat(chunks), source.subarray(77, 77 + length))).toBe(0)
    })
  }

  it("does not keep it alive for a Buffer either, whose slice is no copy", () => {
    const buffer = Buffer.from(source.buffer, source.byteOffset, source.byteLength)
    for (const length of [1, 1023, 1024, 400_000]) {
      expect(retained(queueOf(buffer.subarray(77, 77 + length)).takeAll())).toBe(length)
    }
  })

  it("does not change what was taken when more is pushed", () => {
    const queue = queueOf(bytes("a"), bytes("b"), bytes("c"))
    const first = queue.takeAll()
    queue.push(bytes("d"))
    const second = queue.shift()!
    queue.push(bytes("e"))
    expect([text(concat(first)), text(second), text(concat(queue.takeAll()))]).toEqual(["abc", "d", "e"])
  })

  it("ignores a chunk without bytes", () => {
    const queue = queueOf(new Uint8Array(0))
    expect([queue.size, queue.shift(), queue.takeAll()]).toEqual([0, undefined, []])
  })
})
