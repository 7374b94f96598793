import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Net from "node:net"
import { Writable, type WritableOptions } from "node:stream"
import * as Ws from "ws"
import { ping } from "../../../../../src/internal/transport/node/frameHeader.js"
import { FrameWriter } from "../../../../../src/internal/transport/node/frameWriter.js"

/** A socket that records each write as the kernel sees it, and takes one write a turn, or each write at once. */
const makeSocket = ({ immediate = false } = {}) => {
  const writes: Array<Buffer> = []
  const socket = Object.assign(new Writable(takes(writes, immediate ? (done) => done() : setImmediate)), {
    _handle: {}
  })
  return { socket: socket as unknown as Net.Socket, writes }
}

const takes = (writes: Array<Buffer>, later: (done: () => void) => void): WritableOptions => ({
  write(chunk: Buffer, _encoding, done) {
    writes.push(Buffer.from(chunk))
    later(done)
  },
  writev(chunks, done) {
    writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)))
    later(done)
  }
})

/** A writer and its WebSocket, whose state the test sets. */
const makeSender = (masked: boolean, socket: Net.Socket, written: () => void = () => {}) => {
  const ws = { readyState: 1 }
  return { ws, sender: new FrameWriter(ws as unknown as Ws.WebSocket, socket, masked, written) }
}

/** The receiver of `ws`, which the package's types omit. */
interface Receiver extends Writable {
  on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): this
  on(event: "error", listener: (error: Error) => void): this
  on(event: string, listener: (...args: Array<never>) => void): this
}
const { Receiver } = Ws as unknown as { readonly Receiver: new(options: object) => Receiver }

/** Decodes the bytes by the package `ws`. A server of `ws` requires masks, and a client rejects them. */
const decode = (masked: boolean, bytes: Buffer): Promise<ReadonlyArray<Buffer>> =>
  new Promise((resolve, reject) => {
    const messages: Array<Buffer> = []
    const receiver = new Receiver({ isServer: masked, allowSynchronousEvents: true })
    receiver.on("message", (data, isBinary) => {
      if (!isBinary) reject(new Error("a text message"))
      messages.push(data)
    })
    receiver.on("error", reject)
    receiver.end(bytes, () => resolve(messages))
  })

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Bytes that depend on their position and on the message's length. */
const numbered = (length: number): Uint8Array => new Uint8Array(length).map((_, i) => i * 7 + length)

describe.each([["a client", true], ["a server", false]])("FrameWriter of %s", (_role, masked) => {
  const sizes = fc.oneof(
    fc.constantFrom(0, 1, 3, 4, 63, 64, 65, 125, 126, 127, 4096, 4097, 65535, 65536, 65537, 200_000),
    fc.integer({ min: 0, max: 70_000 })
  )
  const messages = fc.array(fc.array(sizes, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 })

  it("FrameWriter writes messages that ws decodes when their sizes and positions vary", () =>
    fc.assert(
      fc.asyncProperty(messages, async (given) => {
        const { socket, writes } = makeSocket()
        const { sender } = makeSender(masked, socket)
        for (const parts of given) {
          const chunks = parts.map(numbered)
          sender.send(chunks)
          for (const chunk of chunks) chunk.fill(0) // The caller may reuse a chunk at once.
        }
        sender.flush()
        await new Promise<void>((resolve) => socket.end(resolve))
        const arrived = await decode(masked, Buffer.concat(writes))
        expect(arrived.map((data) => data.toString("base64")))
          .toEqual(given.map((parts) => Buffer.concat(parts.map(numbered)).toString("base64")))
      }),
      { numRuns: 60 }
    ))

  const steps = fc.array(fc.tuple(fc.constantFrom("send", "extend", "extend", "ping", "flush"), sizes), {
    maxLength: 12
  })

  it("FrameWriter extends its last message when the message has not left, else refuses", () =>
    fc.assert(
      fc.asyncProperty(steps, async (given) => {
        const { socket, writes } = makeSocket()
        const { sender } = makeSender(masked, socket)
        const expected: Array<Uint8Array> = []
        for (const [step, size] of given) {
          const chunk = numbered(size)
          if (step === "flush") sender.flush()
          else if (step === "ping") sender.control(ping, Buffer.from("1"))
          else if (step === "extend" && sender.extend([chunk])) expected.push(Buffer.concat([expected.pop()!, chunk]))
          else {
            sender.send([chunk])
            expected.push(numbered(size))
          }
          chunk.fill(0) // The caller may reuse a chunk at once.
        }
        sender.flush()
        await new Promise<void>((resolve) => socket.end(resolve))
        const arrived = await decode(masked, Buffer.concat(writes))
        expect(arrived.map((data) => data.toString("base64")))
          .toEqual(expected.map((data) => Buffer.from(data).toString("base64")))
      }),
      { numRuns: 100 }
    ))

  it("FrameWriter refuses to extend when another frame or a write came between", () => {
    const { sender } = makeSender(masked, makeSocket().socket)
    const extended = () => sender.extend([numbered(3)])
    expect(extended()).toBe(false)
    sender.send([numbered(3)])
    expect(extended()).toBe(true)
    sender.control(ping, Buffer.from("1"))
    expect(extended()).toBe(false)
    sender.send([numbered(3)])
    sender.flush()
    expect(extended()).toBe(false)
  })

  it("FrameWriter writes an answer with the messages of its turn, and tells when it has left", async () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    let left = 0
    for (const round of [1, 2]) {
      sender.send([numbered(3)])
      sender.answer(Buffer.from("1"), () => left++)
      sender.send([numbered(5)])
      sender.flush()
      expect([writes.length, left]).toEqual([round, round - 1])
      await turn()
      await turn()
      expect(left).toBe(round)
    }
    await new Promise<void>((resolve) => socket.end(resolve))
    expect(await decode(masked, Buffer.concat(writes))).toEqual([3, 5, 3, 5].map((size) => Buffer.from(numbered(size))))
  })

  it("FrameWriter tells that an answer has left at once when the kernel has taken it", () => {
    const { sender } = makeSender(masked, makeSocket({ immediate: true }).socket)
    const told: Array<string> = []
    sender.answer(Buffer.from("1"), () => told.push("left"))
    expect(told).toEqual([])
    sender.flush()
    expect(told).toEqual(["left"])
  })

  it("FrameWriter counts two messages as one when more follows the first", async () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    const writesOfTurn = async () => {
      const before = writes.length
      sender.send([numbered(64)], true)
      const first = writes.length - before
      sender.send([numbered(5)])
      const both = writes.length - before
      await turn()
      await turn()
      return [first, both, writes.length - before]
    }
    expect(await writesOfTurn()).toEqual([0, 0, 1])
    expect(await writesOfTurn()).toEqual([0, 1, 1])
  })

  it("FrameWriter doubles the size of its writes up to 32 KiB when a turn sends much", async () => {
    const { socket, writes } = makeSocket({ immediate: true })
    const { sender } = makeSender(masked, socket)
    const kib = 1024
    const sizes = () => writes.splice(0).map(({ length }) => Math.round(length / kib))
    for (let i = 0; i < 8 + 16 + 32 + 32; i++) sender.send([numbered(kib)])
    expect(sizes()).toEqual([8, 16, 32, 32])
    await turn()
    sizes()
    for (let i = 0; i < 8; i++) sender.send([numbered(kib)])
    expect(sizes()).toEqual([8])
  })

  it("FrameWriter makes one write per turn when several messages come in a turn", async () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    for (let i = 0; i < 50; i++) sender.send([numbered(100)])
    await Promise.resolve().then(() => sender.send([numbered(100)])) // A fiber sends from a microtask, too.
    expect(writes.length).toBe(0)
    await turn()
    expect(writes.length).toBe(1)
    sender.send([numbered(100)])
    await turn()
    expect(writes.length).toBe(2)
    expect(await decode(masked, Buffer.concat(writes))).toHaveLength(52)
  })

  it("FrameWriter writes the first message at once when the turn before had only one", async () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    const [header, payload] = [numbered(5), numbered(64)]
    const writesOfTurn = async (...messages: Array<ReadonlyArray<Uint8Array>>) => {
      const before = writes.length
      const counts = messages.map((message) => {
        sender.send(message)
        return writes.length - before
      })
      await turn()
      await turn() // The socket takes the second write after the first.
      return [...counts, writes.length - before]
    }
    expect(await writesOfTurn([header, payload])).toEqual([0, 1])
    expect(await writesOfTurn([header, payload])).toEqual([1, 1])
    expect(await writesOfTurn([header], [header, payload], [header])).toEqual([1, 1, 1, 2])
    expect(await writesOfTurn([header, payload], [header])).toEqual([0, 0, 1])
    expect(await writesOfTurn([header])).toEqual([0, 1])
    expect(await writesOfTurn([header])).toEqual([1, 1])
    expect(await decode(masked, Buffer.concat(writes))).toHaveLength(9)
  })

  it("FrameWriter writes before the turn ends when it has collected 8 KiB", () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    for (let i = 0; i < 7; i++) sender.send([numbered(1024)])
    expect(writes.length).toBe(0)
    sender.send([numbered(1024)])
    expect(writes.length).toBe(1)
  })

  it.each([1000, 60_000])("FrameWriter tells unsent and written bytes when it sends %i bytes", async (length) => {
    const { socket } = makeSocket()
    let taken = 0
    const { sender } = makeSender(masked, socket, () => taken++)
    sender.send([numbered(length)])
    expect(sender.unsent).toBe(length + (masked ? 8 : 4))
    sender.flush()
    expect(sender.unsent).toBe(length + (masked ? 8 : 4))
    expect(taken).toBe(0)
    await turn()
    await turn()
    expect(sender.unsent).toBe(0)
    expect(taken).toBe(1)
  })

  it("FrameWriter reuses no buffer when the socket has not taken it yet", async () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    for (let i = 0; i < 20; i++) {
      sender.send([numbered(60_000 + i)])
      sender.flush()
    }
    await new Promise<void>((resolve) => socket.end(resolve))
    const arrived = await decode(masked, Buffer.concat(writes))
    expect(arrived.map((data, i) => data.equals(numbered(60_000 + i)))).toEqual(Array(20).fill(true))
  })

  it("FrameWriter reuses memory only when the kernel has taken its bytes", async () => {
    const written = (kernel: boolean) => {
      const writes: Array<Buffer> = []
      const socket = new Writable({
        write(chunk: Buffer, _encoding, done) {
          writes.push(chunk)
          done()
        }
      })
      const { sender } = makeSender(
        masked,
        Object.assign(socket, kernel ? { _handle: {} } : {}) as unknown as Net.Socket
      )
      for (let i = 0; i < 20; i++) {
        sender.send([numbered(60_000 + i)])
        sender.flush()
      }
      return writes
    }
    expect(new Set(written(true).map(({ buffer }) => buffer)).size).toBe(1)
    const kept = await decode(masked, Buffer.concat(written(false)))
    expect(kept.map((data, i) => data.equals(numbered(60_000 + i)))).toEqual(Array(20).fill(true))
  })

  it("FrameWriter reuses no buffer when the socket overrides write", async () => {
    const writes: Array<Buffer> = []
    class Mocked extends Net.Socket {
      override write(chunk: Uint8Array): boolean {
        return writes.push(chunk as Buffer) > 0
      }
    }
    const { sender } = makeSender(masked, new Mocked())
    for (let i = 0; i < 20; i++) {
      sender.send([numbered(60_000 + i)])
      sender.flush()
    }
    const kept = await decode(masked, Buffer.concat(writes))
    expect(kept.map((data, i) => data.equals(numbered(60_000 + i)))).toEqual(Array(20).fill(true))
  })

  it("FrameWriter retains only the bytes of a small write when the write has to wait", async () => {
    const { socket } = makeSocket()
    const { sender } = makeSender(masked, socket)
    const written: Array<Uint8Array> = []
    const { write } = socket
    socket.write = (chunk: Uint8Array, ...rest: ReadonlyArray<unknown>) => {
      written.push(chunk)
      return Reflect.apply(write, socket, [chunk, ...rest]) as boolean
    }
    // Node's pool serves some of these sizes, which ones depends on its version.
    for (const size of [100, 20_000, 1000, 100]) {
      sender.send([numbered(size)])
      sender.flush()
    }
    const waiting = written.slice(1)
    expect(waiting.map(({ buffer }) => buffer.byteLength)).toEqual(waiting.map(({ byteLength }) => byteLength))
  })

  it("FrameWriter writes nothing when its WebSocket is closing", async () => {
    const { socket, writes } = makeSocket()
    const { sender, ws } = makeSender(masked, socket)
    sender.send([numbered(10)])
    ws.readyState = 2
    await turn()
    expect(writes).toEqual([])
    expect(sender.unsent).toBe(0)
  })
})

it("FrameWriter draws a new key for each message when it writes for a client", async () => {
  const { socket, writes } = makeSocket()
  const { sender } = makeSender(true, socket)
  for (let i = 0; i < 5000; i++) sender.send([new Uint8Array(4)])
  await turn()
  await turn()
  const sent = Buffer.concat(writes)
  const keys = new Set<number>()
  for (let at = 0; at < sent.length; at += 10) {
    const key = sent.readUInt32BE(at + 2)
    expect(sent.readUInt32BE(at + 6)).toBe(key) // A masked zero is the key itself.
    keys.add(key)
  }
  expect(keys.size).toBeGreaterThan(4990)
})
