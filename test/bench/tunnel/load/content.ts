/** The content of all connections, the same as in ../go/content.go. */

/** The size of a large write. */
export const block = 64 << 10

/** How far the content of a connection goes without a repetition. */
const period = 1 << 20

/** The bytes of a connection's header: its kind, and where its content starts. */
export const headerSize = 16

/** The kinds of connections, by their first byte. */
export const kinds = {
  /** The target reads to the end, and answers with the count. */
  up: 0x55,
  /** The target sends blocks until a byte arrives, then a last one with the count. */
  down: 0x44,
  /** The target returns what it reads. */
  echo: 0x45
} as const

/** The noise of which all content consists, with a block of its beginning at its end, so that any part is a slice. */
const pool = (() => {
  const words = new Uint32Array(period / 4)
  let x = 1
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[i] = x
  }
  const noise = Buffer.from(words.buffer)
  return Buffer.concat([noise, noise.subarray(0, block)])
})()

/** The content from a position on, at most a block. */
export const content = (position: number, size: number): Buffer => {
  const at = position % period
  return pool.subarray(at, at + size)
}

/** A position in the content of one direction of a connection. */
export class Cursor {
  count = 0

  constructor(readonly start: number) {}

  next(size: number): Buffer {
    const part = content(this.start + this.count, size)
    this.count += size
    return part
  }

  /** Throws when the bytes differ from the next ones of the content. */
  check(got: Buffer): void {
    for (let at = 0; at < got.length; at += block) {
      const part = got.subarray(at, at + block)
      if (!part.equals(this.next(part.length))) throw new Error(`wrong bytes before ${this.count}`)
    }
  }
}

/** Spreads the connections over the pool, so that a byte of another connection is a wrong byte. */
export const startOf = (connection: number): number => (connection * 104_729) % period

export const header = (kind: number, start: number): Buffer => {
  const bytes = Buffer.alloc(headerSize)
  bytes[0] = kind
  bytes.writeBigUInt64LE(BigInt(start), 8)
  return bytes
}
