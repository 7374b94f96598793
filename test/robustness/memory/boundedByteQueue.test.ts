import { describe, expect, it } from "@effect/vitest"
import { BoundedByteQueue } from "../../../src/internal/recv/boundedByteQueue.js"
import { memory } from "../../support/answering.js"
import { pattern } from "../../support/bytes.js"

// The runner starts this suite alone and with --expose-gc: it measures time and memory.
describe.sequential("BoundedByteQueue", () => {
  const chunk = pattern(1024)

  const makeQueue = () => {
    const queue = new BoundedByteQueue()
    queue.open(1e12, 1e12)
    return queue
  }

  it("BoundedByteQueue takes a chunk in the same time when it holds 4,000 chunks or 200,000", () => {
    const cost = (count: number) => {
      const queue = makeQueue()
      for (let i = 0; i < count; i++) queue.offer(chunk)
      const since = performance.now()
      while (queue.take() !== undefined);
      return (performance.now() - since) / count
    }
    const fastest = (runs: number, count: number) => Math.min(...Array.from({ length: runs }, () => cost(count)))
    expect(fastest(5, 200_000)).toBeLessThan(20 * fastest(50, 4000))
  })

  it("BoundedByteQueue keeps no place for taken chunks when it is never empty", async () => {
    const queue = makeQueue()
    queue.offer(chunk)
    const { heap: before } = await memory()
    for (let i = 0; i < 10_000_000; i++) {
      queue.offer(chunk)
      queue.take()
    }
    const { heap } = await memory()
    expect(queue.size).toBe(1024)
    expect(heap - before).toBeLessThan(40e6) // places alone would take 80 MB
  })
})
