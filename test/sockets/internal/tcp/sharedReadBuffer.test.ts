import { describe, expect, it } from "@effect/vitest"
import * as Net from "node:net"
import { readIntoSharedBuffer } from "../../../../src/internal/tcp/sharedReadBuffer.js"
import { pattern } from "../../../support/bytes.js"

/** Runs a test with pairs of connected sockets, and destroys them afterwards. */
const withPairs = async (count: number, use: (pairs: ReadonlyArray<[Net.Socket, Net.Socket]>) => Promise<void>) => {
  const server = Net.createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as Net.AddressInfo
  const pairs: Array<[Net.Socket, Net.Socket]> = []
  for (let i = 0; i < count; i++) {
    const accepted = new Promise<Net.Socket>((resolve) => server.once("connection", resolve))
    const dialled = Net.connect(port, "127.0.0.1")
    pairs.push([dialled, await accepted])
  }
  try {
    await use(pairs)
  } finally {
    for (const pair of pairs) for (const socket of pair) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
}

describe("readIntoSharedBuffer", () => {
  it("readIntoSharedBuffer gives each socket its bytes and end when four sockets share it", () =>
    withPairs(4, async (pairs) => {
      const sent = pairs.map((_, i) => pattern(1_000_000 + i, i + 1))
      const got = await Promise.all(pairs.map(([from, to], i) =>
        new Promise<Buffer>((resolve) => {
          const chunks: Array<Buffer> = []
          expect(readIntoSharedBuffer(to, (bytes) => chunks.push(Buffer.from(bytes)) > 0)).toBe(true)
          to.on("end", () => resolve(Buffer.concat(chunks))).resume()
          from.end(sent[i]!)
        })
      ))
      expect(got.map((bytes, i) => bytes.equals(sent[i]!))).toEqual([true, true, true, true])
      expect(pairs.map(([, to]) => to.bytesRead)).toEqual(sent.map((bytes) => bytes.byteLength))
    }))

  it("readIntoSharedBuffer pauses the socket when its callback returns false", () =>
    withPairs(1, async (pairs) => {
      const [from, to] = pairs[0]!
      let reads = 0
      let bytes = 0
      const first = new Promise<void>((resolve) => {
        readIntoSharedBuffer(to, (chunk) => {
          bytes += chunk.byteLength
          if (++reads === 1) resolve()
          return reads > 1
        })
      })
      const ended = new Promise((resolve) => to.on("end", resolve))
      to.resume()
      from.end(new Uint8Array(3_000_000))
      await first
      const before = bytes
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      expect(bytes).toBe(before)
      to.resume()
      await ended
      expect(bytes).toBe(3_000_000)
    }))

  it("readIntoSharedBuffer returns false when a socket is paused or has other readers", () =>
    withPairs(3, async (pairs) => {
      const [paused, polled, watched] = pairs.map(([, to]) => to)
      paused!.pause()
      polled!.on("readable", () => {})
      watched!.on("data", () => {}).on("data", () => {})
      expect([paused!, polled!, watched!].map((to) => readIntoSharedBuffer(to, () => true))).toEqual([
        false,
        false,
        false
      ])
    }))

  it("readIntoSharedBuffer returns false when Node does not read the socket itself", () => {
    const other = Object.assign(new Net.Socket(), { encrypted: true })
    expect(readIntoSharedBuffer(other, () => true)).toBe(false)
    expect(readIntoSharedBuffer(new Net.Socket(), () => true)).toBe(false)
  })
})
