/** The header of a WebSocket frame (RFC 6455, 5.2), as the frame reader and the frame writer need it. */

export const continuation = 0x0
export const binary = 0x2
/** The first opcode of control frames: all from here on are of control frames. */
export const close = 0x8
export const ping = 0x9
export const pong = 0xa

/** Returns the size in bytes of the header of a payload with this length. */
export const headerSize = (length: number, masked: boolean): number =>
  (length < 126 ? 2 : length < 65536 ? 4 : 10) + (masked ? 4 : 0)

/**
 * Writes the header of a message in one frame at `at`, and returns where the header ends. A key means that it is
 * masked.
 */
export const writeHeader = (
  bytes: Buffer,
  at: number,
  opcode: number,
  length: number,
  key: Uint8Array | undefined
): number => {
  const masked = key === undefined ? 0 : 0x80
  bytes[at++] = 0x80 | opcode
  if (length < 126) {
    bytes[at++] = masked | length
  } else if (length < 65536) {
    bytes[at++] = masked | 126
    at = bytes.writeUInt16BE(length, at)
  } else {
    bytes[at++] = masked | 127
    at = bytes.writeUInt32BE(Math.floor(length / 2 ** 32), at)
    at = bytes.writeUInt32BE(length % 2 ** 32, at)
  }
  if (key === undefined) return at
  bytes.set(key, at)
  return at + key.byteLength
}

/** Returns the size in bytes of the header that begins at `at`: 2 while only its first byte is there. */
export const headerSizeAt = (bytes: Buffer, at: number): number => {
  const second = bytes[at + 1]
  if (second === undefined) return 2
  const length = second & 0x7f
  return (length < 126 ? 2 : length === 126 ? 4 : 10) + ((second & 0x80) === 0 ? 0 : 4)
}

/** Returns the length of the payload that the header at `at` announces. */
export const payloadLengthAt = (bytes: Buffer, at: number): number => {
  const length = bytes[at + 1]! & 0x7f
  if (length < 126) return length
  if (length === 126) return bytes.readUInt16BE(at + 2)
  return bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6)
}
