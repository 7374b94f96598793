import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import type * as Net from "node:net"
import { Writable } from "node:stream"
import * as Ws from "ws"
import { WsSender } from "../../src/internal/transport/wsSender.js"

/** A socket that notes each write as the kernel would see it, and takes one at a time. */
const makeSocket = () => {
  const writes: Array<Buffer> = []
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done) {
      writes.push(Buffer.from(chunk))
      setImmediate(done)
    },
    writev(chunks, done) {
      writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)))
      setImmediate(done)
    }
  })
  return { socket: socket as unknown as Net.Socket, writes }
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

/** Numbered bytes that start anywhere in their memory, so that words may not line up with it. */
const numbered = (length: number, offset: number): Uint8Array =>
  new Uint8Array(length + offset).map((_, i) => (i - offset) * 7 + length).subarray(offset)

describe.each([["a client", true], ["a server", false]])("the sender of %s", (_role, masked) => {
  const sizes = fc.oneof(
    fc.constantFrom(0, 1, 3, 4, 63, 64, 65, 125, 126, 127, 4096, 4097, 65535, 65536, 65537),
    fc.integer({ min: 0, max: 70_000 })
  )
  const messages = fc.array(fc.tuple(sizes, fc.integer({ min: 0, max: 8 })), { minLength: 1, maxLength: 6 })

  it("writes what the package ws reads, whatever the size and wherever it lies in memory", () =>
    fc.assert(
      fc.asyncProperty(messages, async (given) => {
        const { socket, writes } = makeSocket()
        const sender = new WsSender(socket, masked)
        for (const [length, offset] of given) sender.send(numbered(length, offset), () => {})
        await new Promise<void>((resolve) => socket.end(resolve))
        const arrived = await decode(masked, Buffer.concat(writes))
        expect(arrived.map((data) => data.toString("base64")))
          .toEqual(given.map(([length, offset]) => Buffer.from(numbered(length, offset)).toString("base64")))
      }),
      { numRuns: 60 }
    ))

  it("hands the messages of one turn over in one write, and those of the next in another", async () => {
    const { socket, writes } = makeSocket()
    const sender = new WsSender(socket, masked)
    for (let i = 0; i < 50; i++) sender.send(numbered(100, 0), () => {})
    await Promise.resolve().then(() => sender.send(numbered(100, 0), () => {})) // as a fiber does that goes on
    expect(writes.length).toBe(0)
    await turn()
    expect(writes.length).toBe(1)
    sender.send(numbered(100, 0), () => {})
    await turn()
    expect(writes.length).toBe(2)
    expect(await decode(masked, Buffer.concat(writes))).toHaveLength(52)
  })

  it("does not wait for the end of the turn once 64 KiB have come together", () => {
    const { socket, writes } = makeSocket()
    const sender = new WsSender(socket, masked)
    for (let i = 0; i < 63; i++) sender.send(numbered(1024, 0), () => {})
    expect(writes.length).toBe(0)
    sender.send(numbered(1024, 0), () => {})
    expect(writes.length).toBe(1)
  })

  it("tells what the socket has not taken, and calls back when it has", async () => {
    const { socket } = makeSocket()
    const sender = new WsSender(socket, masked)
    let taken = 0
    sender.send(numbered(1000, 0), () => taken++)
    expect(sender.unsent).toBe(1000 + (masked ? 8 : 4))
    expect(taken).toBe(0)
    await turn()
    await turn()
    expect(sender.unsent).toBe(0)
    expect(taken).toBe(1)
  })

  it("lets the closing handshake of whoever else writes to the socket follow in order", async () => {
    const { socket, writes } = makeSocket()
    const sender = new WsSender(socket, masked)
    sender.send(numbered(10, 0), () => {})
    socket.end(Buffer.from("behind"))
    await turn()
    expect(Buffer.concat(writes).subarray(-6).toString()).toBe("behind")
  })
})

it("writes the length of a message beyond 4 GiB in 64 bits", () => {
  const headers: Array<Buffer> = []
  const socket = { cork() {}, uncork() {}, write: (bytes: Buffer) => headers.push(bytes) } as unknown as Net.Socket
  const length = 2 ** 32 + 5
  const message = new Proxy(new Uint8Array(0), {
    get: (target, name) => name === "byteLength" ? length : Reflect.get(target, name, target)
  })
  new WsSender(socket, false).send(message, () => {})
  expect(headers[0]).toEqual(Buffer.from([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 5]))
})

it("draws a new key for each message of a client", async () => {
  const { socket, writes } = makeSocket()
  const sender = new WsSender(socket, true)
  for (let i = 0; i < 5000; i++) sender.send(new Uint8Array(4), () => {})
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
