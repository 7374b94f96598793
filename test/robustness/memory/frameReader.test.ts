import { describe, expect, it } from "@effect/vitest"
import * as Ws from "ws"
import { SharedBudget } from "../../../src/internal/budget/sharedBudget.js"
import { BoundedByteQueue } from "../../../src/internal/recv/boundedByteQueue.js"
import { ListenerBuffer } from "../../../src/internal/transport/listenerBuffer.js"
import { FrameReader } from "../../../src/internal/transport/node/frameReader.js"
import { ownCopy } from "../../../src/internal/transport/node/ownCopy.js"
import type { Parser } from "../../../src/internal/transport/node/wsInternals.js"
import { memory } from "../../support/answering.js"
import { encodeFrame } from "../../support/webSocketFrames.js"

/** The parser of `ws`, which the types of the package leave out. */
const { Receiver } = Ws as unknown as { readonly Receiver: new(options: object) => Parser }

const budget = new SharedBudget(1e9)
const count = 2000

const ignoring = { receiver: { onMessage: () => {}, onText: () => {} } }

/** @param begun what the parser has read before the reader replaces it */
const makeReader = (
  listeners: Pick<ListenerBuffer, "receiver"> = ignoring,
  { begun = [], masked = false }: { readonly begun?: ReadonlyArray<number>; readonly masked?: boolean } = {}
) => {
  const parser = new Receiver({ isServer: masked, maxPayload: 2000 })
  if (begun.length > 0) parser.write(ownCopy(Uint8Array.from(begun)))
  return new FrameReader(parser, { masked, limit: 2000, listeners, refuse: () => {}, share: budget.join() })
}

/** Other code of the process uses the pool, too: each call takes all of it. */
const usePool = (): void => {
  Buffer.from("x".repeat(Buffer.poolSize / 2 - 1))
  Buffer.from("x".repeat(Buffer.poolSize / 2 - 1))
}

interface Halt {
  readonly where: string
  readonly masked?: boolean
  readonly begun?: ReadonlyArray<number>
  readonly reads: ReadonlyArray<ReadonlyArray<number>>
}

// Frames of which some bytes have come, and a message of which a frame has come.
const halts: ReadonlyArray<Halt> = [
  { where: "in mid-header", reads: [[0x82]] },
  { where: "in mid-message", reads: [[0x82, 126, 1, 44, 1, 2, 3]] },
  { where: "in mid-text", reads: [[0x81, 126, 1, 44, 1, 2, 3]] },
  { where: "in mid-ping", reads: [[0x89, 10, 1, 2, 3]] },
  { where: "in a text begun earlier", begun: [0x81, 126, 1, 44], reads: [[1, 2, 3]] },
  { where: "behind a mask in two reads", masked: true, begun: [0x81, 0xfa], reads: [[1, 2], [3, 4, 5]] },
  { where: "behind a fragment of text", reads: [[0x01, 3, 97, 98, 99]] },
  { where: "behind a fragment of text in two reads", reads: [[0x01, 3, 97], [98, 99]] }
]

describe.sequential("FrameReader", () => {
  for (const { reads, where, ...settings } of halts) {
    it(`FrameReader pins no memory of Node's pool when 2,000 peers stop ${where}`, async () => {
      const readers = Array.from({ length: count }, () => makeReader(ignoring, settings))
      const before = await memory()
      for (const reader of readers) {
        for (const bytes of reads) {
          reader.read(Buffer.from(bytes))
          usePool()
        }
      }
      const after = await memory()
      expect(readers).toHaveLength(count)
      expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(count * 1000)
    })
  }

  it("ListenerBuffer pins no memory of Node's pool when 2,000 messages wait for a listener", async () => {
    const buffers = Array.from({ length: count }, () => new ListenerBuffer(2000, () => {}))
    const readers = buffers.map((buffer) => makeReader(buffer))
    const before = await memory()
    for (const reader of readers) {
      reader.read(encodeFrame({ opcode: 2, payload: new Uint8Array(10) }))
      usePool()
    }
    const after = await memory()
    expect(buffers.filter(({ ended }) => ended)).toEqual([])
    expect(readers).toHaveLength(count)
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(count * 1000)
  })

  // test/README.md has the figures of each Node.
  for (const size of [10, 1000]) {
    it(`unread message of ${size} bytes takes at most 1,000 bytes more when 2,000 streams hold one`, async () => {
      const queues = Array.from({ length: count }, () => new BoundedByteQueue())
      const readers = queues.map((queue) => {
        queue.open(size, size)
        return makeReader({ receiver: { onMessage: (message) => void queue.offer(message), onText: () => {} } })
      })
      const before = await memory()
      for (const reader of readers) {
        reader.read(encodeFrame({ opcode: 2, payload: new Uint8Array(size) }))
        usePool()
      }
      const after = await memory()
      const taken = (after.heap + after.arrayBuffers - before.heap - before.arrayBuffers) / count
      console.log(
        `an unread message of ${size} bytes takes ${Math.round(taken)} bytes on Node ${process.versions.node}`
      )
      expect(queues.map((queue) => queue.size)).toEqual(queues.map(() => size))
      expect(readers).toHaveLength(count)
      expect(taken).toBeLessThan(size + 1000)
    })
  }
})
