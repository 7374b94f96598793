/**
 * The frames of the wsmux wire protocol.
 *
 * A frame is exactly one binary WebSocket message: a type byte, the stream's id as little-endian uint32, and a
 * payload. The protocol has no length field, no version and no settings exchange. The type byte decides the payload:
 *
 * - 0, `Dat`: bytes of the stream
 * - 1, `Syn`: empty, opens a stream
 * - 2, `Ack`: a little-endian uint32, the credit in bytes
 * - 3, `Fin`: empty, ends the direction of its sender
 *
 * Source: the wire of the Go package `wsmux`, recorded in `test/fixtures/wire`.
 *
 * @since 0.1.0
 */

/**
 * The size of a frame's header in bytes.
 *
 * @since 0.1.0
 * @category constants
 */
export const headerSize = 5

/**
 * The largest uint32. Limits the stream ids and the outstanding credit of a stream.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxUint32 = 0xffff_ffff

/**
 * Carries bytes of a stream. The payload of a decoded frame is a view of its message.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dat {
  readonly _tag: "Dat"
  readonly id: number
  readonly payload: Uint8Array
}

/**
 * Opens a stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Syn {
  readonly _tag: "Syn"
  readonly id: number
}

/**
 * Grants credit in bytes. The first `Ack` of a stream accepts the stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ack {
  readonly _tag: "Ack"
  readonly id: number
  readonly credit: number
}

/**
 * Ends the direction of its sender: a half-close.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fin {
  readonly _tag: "Fin"
  readonly id: number
}

/**
 * @since 0.1.0
 * @category models
 */
export type Frame = Dat | Syn | Ack | Fin

/**
 * The fault of a message that is not a frame.
 *
 * - `Truncated`: fewer than 5 bytes
 * - `UnknownType`: a type above 3
 * - `UnexpectedPayload`: a `Syn` or `Fin` with a payload
 * - `InvalidCredit`: an `Ack` whose payload is not 4 bytes
 * - `InvalidRecord`: a record of the dialect that breaks the record's format or limits
 *
 * @since 0.1.0
 * @category models
 */
export interface Malformed {
  readonly _tag: "Malformed"
  readonly fault: "Truncated" | "UnknownType" | "UnexpectedPayload" | "InvalidCredit" | "InvalidRecord"
  /** A description of the message, short enough for the reason of a close frame. */
  readonly detail: string
}

const DAT = 0
const SYN = 1
const ACK = 2
const FIN = 3

/**
 * Decodes one message. Returns a frame or a fault for every byte string, and never throws.
 *
 * @since 0.1.0
 * @category codec
 */
export const decode = (message: Uint8Array): Frame | Malformed => {
  const length = message.byteLength
  if (length < headerSize) return malformed("Truncated", `a message of ${length} bytes`)
  const id = readUint32(message, 1)
  switch (message[0]) {
    case DAT:
      return { _tag: "Dat", id, payload: message.subarray(headerSize) }
    case SYN:
      return length === headerSize ? { _tag: "Syn", id } : malformed("UnexpectedPayload", `SYN of ${length} bytes`)
    case ACK:
      return length === headerSize + 4
        ? { _tag: "Ack", id, credit: readUint32(message, headerSize) }
        : malformed("InvalidCredit", `ACK of ${length} bytes`)
    case FIN:
      return length === headerSize ? { _tag: "Fin", id } : malformed("UnexpectedPayload", `FIN of ${length} bytes`)
    default:
      return malformed("UnknownType", `frame type ${message[0]}`)
  }
}

/**
 * Encodes one frame. Copies the payload of a `Dat`, so the caller may reuse its bytes.
 *
 * @since 0.1.0
 * @category codec
 */
export const encode = (frame: Frame): Uint8Array => {
  switch (frame._tag) {
    case "Dat": {
      const message = withHeader(DAT, frame.id, headerSize + frame.payload.byteLength)
      message.set(frame.payload, headerSize)
      return message
    }
    case "Syn":
      return syn(frame.id)
    case "Ack":
      return ack(frame.id, frame.credit)
    case "Fin":
      return fin(frame.id)
  }
}

/**
 * Encodes a `Syn`.
 *
 * @since 0.1.0
 * @category codec
 */
export const syn = (id: number): Uint8Array => withHeader(SYN, id, headerSize)

/**
 * Encodes a `Fin`.
 *
 * @since 0.1.0
 * @category codec
 */
export const fin = (id: number): Uint8Array => withHeader(FIN, id, headerSize)

/**
 * Encodes an `Ack`, whose credit in bytes is a uint32.
 *
 * @since 0.1.0
 * @category codec
 */
export const ack = (id: number, credit: number): Uint8Array => {
  const message = withHeader(ACK, id, headerSize + 4)
  writeUint32(message, headerSize, credit)
  return message
}

/**
 * Encodes the header of a `Dat`. The chunks of the payload can follow as parts of the same message, without a copy.
 *
 * @since 0.1.0
 * @category codec
 */
export const datHeader = (id: number): Uint8Array => withHeader(DAT, id, headerSize)

const withHeader = (type: number, id: number, length: number): Uint8Array => {
  const message = new Uint8Array(length)
  message[0] = type
  writeUint32(message, 1, id)
  return message
}

const malformed = (fault: Malformed["fault"], detail: string): Malformed => ({ _tag: "Malformed", fault, detail })

/** Reads a little-endian uint32. */
export const readUint32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0

/** Writes a little-endian uint32. */
export const writeUint32 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

/** Reads a little-endian uint16. */
export const readUint16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8)

/** Writes a little-endian uint16. */
export const writeUint16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
}
