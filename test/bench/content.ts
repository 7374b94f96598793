import { crc32 } from "node:zlib"

/** The noise of all content. A MiB has no repetition, so that the checksum finds lost and swapped pieces. */
const pool = (() => {
  const words = new Uint32Array(1 << 18)
  let x = 1
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[i] = x
  }
  return Buffer.from(words.buffer)
})()

const cut = new Map<number, ReadonlyArray<Buffer>>()

/** The pool in pieces, cut once, so that the loop of a writer allocates nothing. */
const pieces = (size: number): ReadonlyArray<Buffer> => {
  let found = cut.get(size)
  if (found === undefined) {
    found = Array.from({ length: Math.floor(pool.length / size) }, (_, i) => pool.subarray(i * size, (i + 1) * size))
    cut.set(size, found)
  }
  return found
}

/** The content of a stream: writes of one size, except for the last. */
export interface Source extends Iterable<Uint8Array> {
  readonly size: number
}

/** This many bytes, in writes of the given size. */
export const content = (bytes: number, size: number): Source => ({
  size,
  *[Symbol.iterator]() {
    const all = pieces(size)
    let i = 0
    for (let left = bytes; left > 0; left -= size) {
      const piece = all[i]!
      yield left < size ? piece.subarray(0, left) : piece
      if (++i === all.length) i = 0
    }
  }
})

/** A single write. */
export const single = (bytes: Uint8Array): Source => ({ size: bytes.length, [Symbol.iterator]: () => [bytes].values() })

/** The number and the checksum of the received bytes. */
export class Tally {
  bytes = 0
  crc = 0

  readonly add = (chunk: Uint8Array): void => {
    this.bytes += chunk.length
    this.crc = crc32(chunk, this.crc)
  }

  encode(): Uint8Array {
    const answer = Buffer.alloc(12)
    answer.writeDoubleLE(this.bytes, 0)
    answer.writeUInt32LE(this.crc, 8)
    return answer
  }
}

export const tallyOf = (chunks: Iterable<Uint8Array>): Tally => {
  const tally = new Tally()
  for (const chunk of chunks) tally.add(chunk)
  return tally
}

/** Throws when the received bytes differ from the sent ones. */
export const verify = (what: string, got: Uint8Array, expected: Tally): void => {
  const want = expected.encode()
  if (Buffer.compare(got, want) === 0) return
  throw new Error(
    `${what}: arrived as ${Buffer.from(got).toString("hex")} (bytes, checksum), expected ${
      Buffer.from(want).toString("hex")
    }`
  )
}

/** The speed of the checksum, the same for all peers: GB/s in pieces of 64 KiB and of 1 KiB. */
export const checksumSpeed = (): Record<"64 KiB" | "1 KiB", number> => {
  const speed = (size: number) => {
    const total = 256 << 20
    tallyOf(content(total / 8, size))
    const start = performance.now()
    tallyOf(content(total, size))
    return total / (performance.now() - start) / 1e6
  }
  return { "64 KiB": speed(64 << 10), "1 KiB": speed(1 << 10) }
}
