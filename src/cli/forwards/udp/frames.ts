/** The length of a datagram takes two bytes, and a datagram of UDP has at most 65,507 bytes. */
const headerSize = 2

/** Puts the length before a datagram: a uint16, little-endian as all integers of the dialect. */
export const encode = (datagram: Uint8Array): Uint8Array => {
  const frame = Buffer.allocUnsafe(headerSize + datagram.byteLength)
  frame.writeUInt16LE(datagram.byteLength, 0)
  frame.set(datagram, headerSize)
  return frame
}

/** Takes the bytes of a stream, and returns the datagrams that they complete. */
export class Decoder {
  #rest: Buffer = Buffer.alloc(0)

  push(bytes: Uint8Array): ReadonlyArray<Uint8Array> {
    const datagrams: Array<Uint8Array> = []
    let rest = this.#rest.byteLength === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes])
    while (rest.byteLength >= headerSize) {
      const end = headerSize + rest.readUInt16LE(0)
      if (rest.byteLength < end) break
      datagrams.push(rest.subarray(headerSize, end))
      rest = rest.subarray(end)
    }
    this.#rest = rest
    return datagrams
  }
}
