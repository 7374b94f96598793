/** A frame of RFC 6455, section 5.2. The `key` masks the payload. */
export interface WebSocketFrame {
  readonly opcode: number
  readonly payload: Uint8Array
  readonly fin?: boolean
  readonly key?: Uint8Array | undefined
}

/** The bytes of a frame. */
export const encodeFrame = ({ fin = true, key, opcode, payload }: WebSocketFrame): Buffer => {
  const { length } = payload
  const masked = key === undefined ? 0 : 0x80
  const size = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 0xff] : [
    127,
    ...[56n, 48n, 40n, 32n, 24n, 16n, 8n, 0n].map((shift) => Number(BigInt(length) >> shift & 0xffn))
  ]
  return Buffer.concat([
    Buffer.from([(fin ? 0x80 : 0) | opcode, masked | size[0]!, ...size.slice(1)]),
    key ?? Buffer.alloc(0),
    key === undefined ? payload : payload.map((byte, i) => byte ^ key[i & 3]!)
  ])
}
