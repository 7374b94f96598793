import { expect, it } from "@effect/vitest"
import { Writable } from "node:stream"
import { SharedBudget } from "../../../src/internal/budget/sharedBudget.js"
import { FrameReader } from "../../../src/internal/transport/node/frameReader.js"
import type { Parser } from "../../../src/internal/transport/node/wsInternals.js"
import { memory } from "../../support/answering.js"

const budget = new SharedBudget(1e9)

const makeReader = () =>
  new FrameReader(Object.assign(new Writable(), { _state: 0, _bufferedBytes: 0, _fragmented: 0 }) as Parser, {
    masked: false,
    limit: 1000,
    listeners: { receiver: { onMessage: () => {}, onText: () => {} } },
    refuse: () => {},
    share: budget.join()
  })

// The first byte of a header, and a frame of 300 bytes of which three have come.
for (const [where, bytes] of [["header", [0x82]], ["message", [0x82, 126, 1, 44, 1, 2, 3]]] as const) {
  it(`FrameReader pins no memory of Node's pool when 2,000 peers stop in mid-${where}`, async () => {
    const readers = Array.from({ length: 2000 }, makeReader)
    const before = await memory()
    for (const reader of readers) {
      reader.read(Buffer.from(bytes))
      Buffer.from("x".repeat(Buffer.poolSize / 2 - 1)) // other code of the process uses the pool, too
      Buffer.from("x".repeat(Buffer.poolSize / 2 - 1))
    }
    const after = await memory()
    expect(readers).toHaveLength(2000)
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(2000 * 1000)
  })
}
