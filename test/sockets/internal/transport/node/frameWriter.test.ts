import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Net from "node:net"
import { Writable, type WritableOptions } from "node:stream"
import * as Ws from "ws"
import { FrameWriter } from "../../../../../src/internal/transport/node/frameWriter.js"

/** A socket that notes each write as the kernel would see it, and takes one at a time. */
const makeSocket = () => {
  const writes: Array<Buffer> = []
  const socket = Object.assign(new Writable(takes(writes)), { _handle: {} })
  return { socket: socket as unknown as Net.Socket, writes }
}

const takes = (writes: Array<Buffer>): WritableOptions => ({
  write(chunk: Buffer, _encoding, done) {
    writes.push(Buffer.from(chunk))
    setImmediate(done)
  },
  writev(chunks, done) {
    writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)))
    setImmediate(done)
  }
})

/** A sender, whose WebSocket is open as long as the test says so. */
const makeSender = (masked: boolean, socket: Net.Socket, written: () => void = () => {}) => {
  const ws = { readyState: 1 }
  return { ws, sender: new FrameWriter(ws as unknown as Ws.WebSocket, socket, masked, written) }
}

/** The receiver of `ws`, which the types of the package leave out. */
interface Receiver extends Writable {
  on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): this
  on(event: "error", listener: (error: Error) => void): this
  on(event: string, listener: (...args: Array<never>) => void): this
}
const { Receiver } = Ws as unknown as { readonly Receiver: new(options: object) => Receiver }

/** What the package `ws` makes of the bytes; as a server, it insists on masks, and as a client, on their absence. */
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

/** Bytes that tell where they stand, and in how long a message. */
const numbered = (length: number): Uint8Array => new Uint8Array(length).map((_, i) => i * 7 + length)

describe.each([["a client", true], ["a server", false]])("the sender of %s", (_role, masked) => {
  const sizes = fc.oneof(
    fc.constantFrom(0, 1, 3, 4, 63, 64, 65, 125, 126, 127, 4096, 4097, 65535, 65536, 65537, 200_000),
    fc.integer({ min: 0, max: 70_000 })
  )
  const messages = fc.array(fc.array(sizes, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 })

  it("writes what the package ws reads, whatever the size and wherever it comes to lie", () =>
    fc.assert(
      fc.asyncProperty(messages, async (given) => {
        const { socket, writes } = makeSocket()
        const { sender } = makeSender(masked, socket)
        for (const parts of given) {
          const chunks = parts.map(numbered)
          sender.send(chunks)
          for (const chunk of chunks) chunk.fill(0) // they are ours again
        }
        sender.flush()
        await new Promise<void>((resolve) => socket.end(resolve))
        const arrived = await decode(masked, Buffer.concat(writes))
        expect(arrived.map((data) => data.toString("base64")))
          .toEqual(given.map((parts) => Buffer.concat(parts.map(numbered)).toString("base64")))
      }),
      { numRuns: 60 }
    ))

  it("hands the messages of one turn over in one write, and those of the next in another", async () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    for (let i = 0; i < 50; i++) sender.send([numbered(100)])
    await Promise.resolve().then(() => sender.send([numbered(100)])) // as a fiber does that goes on
    expect(writes.length).toBe(0)
    await turn()
    expect(writes.length).toBe(1)
    sender.send([numbered(100)])
    await turn()
    expect(writes.length).toBe(2)
    expect(await decode(masked, Buffer.concat(writes))).toHaveLength(52)
  })

  it("lets the first message leave at once where the turn before had a single one", async () => {
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
      await turn() // the socket takes the second write when it has the first
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

  it("does not wait for the end of the turn once 8 KiB have come together", () => {
    const { socket, writes } = makeSocket()
    const { sender } = makeSender(masked, socket)
    for (let i = 0; i < 7; i++) sender.send([numbered(1024)])
    expect(writes.length).toBe(0)
    sender.send([numbered(1024)])
    expect(writes.length).toBe(1)
  })

  it.each([1000, 60_000])("tells what the socket has not taken of %i bytes, and when it has", async (length) => {
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

  it("does not use a buffer again before the socket has taken it", async () => {
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

  it("hands the kernel the same memory again once it has taken what was there, and others never", async () => {
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

  it("leaves what it has written to a socket that passes it on by a way of its own", async () => {
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

  it("keeps no more than itself of a small write that has to wait in line", async () => {
    const { socket } = makeSocket()
    const { sender } = makeSender(masked, socket)
    const held: Array<number> = []
    const { write } = socket
    socket.write = (chunk: Uint8Array, ...rest: ReadonlyArray<unknown>) => {
      held.push(chunk.buffer.byteLength)
      return Reflect.apply(write, socket, [chunk, ...rest]) as boolean
    }
    for (let i = 0; i < 3; i++) {
      sender.send([numbered(20_000)])
      sender.flush()
    }
    expect(held.map((size) => size < 21_000)).toEqual([false, true, true])
  })

  it("writes nothing behind a close frame", async () => {
    const { socket, writes } = makeSocket()
    const { sender, ws } = makeSender(masked, socket)
    sender.send([numbered(10)])
    ws.readyState = 2
    await turn()
    expect(writes).toEqual([])
    expect(sender.unsent).toBe(0)
  })
})

it("draws a new key for each message of a client", async () => {
  const { socket, writes } = makeSocket()
  const { sender } = makeSender(true, socket)
  for (let i = 0; i < 5000; i++) sender.send([new Uint8Array(4)])
  await turn()
  await turn()
  const sent = Buffer.concat(writes)
  const keys = new Set<number>()
  for (let at = 0; at < sent.length; at += 10) {
    const key = sent.readUInt32BE(at + 2)
    expect(sent.readUInt32BE(at + 6)).toBe(key) // what masks zeros is the key itself
    keys.add(key)
  }
  expect(keys.size).toBeGreaterThan(4990)
})
