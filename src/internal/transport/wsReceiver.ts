import { isNative, mask, wordsFrom } from "./mask.js"

/** What is used of the parser of `ws`, which is not part of its interface. */
interface Parser {
  _state: number
  _masked: boolean
  _mask: Uint8Array | undefined
  readonly consume: (bytes: number) => Buffer
}

interface Testable extends Parser {
  readonly on: (event: "message", listener: (message: Buffer) => void) => void
  readonly write: (bytes: Uint8Array) => void
}

/**
 * Lets the parser of a WebSocket unmask large payloads by words. Without bufferutil it does so byte by byte, which costs
 * a server more than all the rest.
 *
 * It reaches into the parser: where the parser takes a masked payload out of its buffers, that is unmasked already, and the
 * key is made one that changes nothing. A parser that works otherwise is left alone, which is tried once.
 */
export const unmaskByWords = (parser: object | null | undefined): void => {
  if (parser && isUnderstood(parser as Parser)) hook(parser as Parser)
}

const hook = (parser: Parser): void => {
  const { consume } = parser
  const consumeUnmasked = function(this: Parser, bytes: number): Buffer {
    const data = consume.call(this, bytes)
    if (this._state === takesPayload && this._masked && this._mask !== undefined && bytes >= wordsFrom) {
      mask(data, 0, bytes, this._mask)
      this._mask = changesNothing
    }
    return data
  }
  Object.assign(parser, { consume: consumeUnmasked })
}

/** The parser's state, of seven, in which it takes a payload. */
const takesPayload = 4

const changesNothing = new Uint8Array(4)

let understood: boolean | undefined

const isUnderstood = (parser: Parser): boolean => understood ??= !isNative() && tryOut(parser)

/** Lets another one of its kind parse a masked message in two pieces, as it may come, and one behind it. */
const tryOut = (kind: Parser): boolean => {
  try {
    const Parser = kind.constructor as new(options: { isServer: true }) => Testable
    const parser = new Parser({ isServer: true })
    hook(parser)
    const heard: Array<Buffer> = []
    parser.on("message", (message) => heard.push(Buffer.from(message)))
    const payload = Buffer.from(Array.from({ length: 700 }, (_, i) => i & 0xff))
    const key = Buffer.from([1, 20, 150, 255])
    const masked = Buffer.from(payload)
    mask(masked, 0, masked.byteLength, key)
    const frame = Buffer.concat([
      Buffer.from([0x82, 0xfe, payload.byteLength >> 8, payload.byteLength & 0xff]),
      key,
      masked
    ])
    parser.write(frame.subarray(0, 300))
    parser.write(Buffer.concat([frame.subarray(300), frame]))
    return heard.length === 2 && heard.every((message) => message.equals(payload))
  } catch {
    return false
  }
}
