import { datHeader, type Malformed, maxUint32, readUint16, readUint32, writeUint16, writeUint32 } from "./frame.js"
import { decodeMetadata, decodeText, encodeMetadata, type Metadata } from "./metadata.js"

/**
 * The records of the dialect, which two peers of this package speak beyond Go's wire.
 *
 * A record is the payload of a DAT on the reserved id, because every Go peer ignores a DAT for an id without a stream.
 * The first byte of the payload is the kind. Integers are little-endian, and texts are UTF-8. `src/README.md` has the
 * format of each kind.
 */
export type DialectRecord = Hello | Open | Reset | Stop | GoAway | Ping | Pong | Unknown

/** The id that no stream has. */
export const reservedId = maxUint32

/** What a peer understands. Each member of the interface but `features` is a TLV, and may be missing. */
export interface Hello {
  readonly _tag: "Hello"
  /** A set of `Feature`s. */
  readonly features: number
  readonly software?: string | undefined
  /** The receive window of the sender's streams. */
  readonly window?: number | undefined
  /** The bytes that an opener may send on one stream before the stream is accepted, and on all such streams. */
  readonly earlyCredit?: { readonly perStream: number; readonly inAll: number } | undefined
  /** The longest label and the longest metadata that the sender takes, in bytes. */
  readonly longest?: { readonly label: number; readonly metadata: number } | undefined
  /** How many streams may wait to be accepted. */
  readonly backlog?: number | undefined
  /** The offer of an accepting end to resume the session over a later WebSocket. */
  readonly resume?: ResumeOffer | undefined
}

/** How a dialling end may resume its session. */
export interface ResumeOffer {
  /** 16 bytes */
  readonly sessionId: Uint8Array
  /** 32 bytes, known to the two ends only. Valid until the next resume. */
  readonly token: Uint8Array
  /** For how long the session waits for its client after a loss. */
  readonly graceMillis: number
  /** The bytes of unacknowledged messages that the accepting end keeps. */
  readonly keptBytes: number
}

/** Bits of `Hello.features`. A peer uses a feature when both ends have announced it. */
export const Feature = {
  /** `Open`: labels, metadata and early data. */
  open: 1,
  /** `Reset` and `Stop`. */
  reset: 2,
  /** `GoAway` */
  goAway: 4,
  /** `Ping` and `Pong` */
  ping: 8,
  /** The records of `resumeRecord.ts`. */
  resume: 16
} as const

/** Opens a stream, in place of a SYN. */
export interface Open {
  readonly _tag: "Open"
  readonly id: number
  /** The receive window of the opener. */
  readonly window: number
  readonly label: string
  readonly metadata: Metadata
}

/** The sender's half of the stream ends abnormally, now. In place of an ACK, the record refuses the stream. */
export interface Reset {
  readonly _tag: "Reset"
  readonly id: number
  readonly code: number
  readonly reason: string
}

/** The sender reads no more. The receiver answers with `Reset`. */
export interface Stop {
  readonly _tag: "Stop"
  readonly id: number
  readonly code: number
}

/** The sender takes no new streams, and serves those that run for `graceMillis`. */
export interface GoAway {
  readonly _tag: "GoAway"
  readonly code: number
  readonly graceMillis: number
  /** Whether a new connection would be served. */
  readonly redial: boolean
  readonly reason: string
}

/** Asks for a `Pong` with the same 8 bytes, ahead of all data. */
export interface Ping {
  readonly _tag: "Ping"
  readonly payload: Uint8Array
}

export interface Pong {
  readonly _tag: "Pong"
  readonly payload: Uint8Array
}

/** A record of a kind that this version does not know. */
export interface Unknown {
  readonly _tag: "Unknown"
  readonly kind: number
}

export const HELLO = 1
const OPEN = 2
const RESET = 3
const STOP = 4
export const GOAWAY = 5
export const PING = 6
export const PONG = 7

const tlv = { software: 1, window: 2, earlyCredit: 3, longest: 4, backlog: 5, resume: 6 } as const

/** The size of a record's header: that of a DAT, and the kind. */
export const recordHeaderSize = 6

/** Where the features lie in the message of a `Hello`. */
const featuresAt = recordHeaderSize + 4

/** The first bytes of a `Hello` behind its kind: "wsx1". */
const magic = Uint8Array.of(0x77, 0x73, 0x78, 0x31)

/** The longest `Hello` in bytes, with its kind. */
const maxHello = 1024

/** The longest reason of a `Reset` or a `GoAway` in bytes. */
export const maxReason = 128

/** The longest label and metadata in bytes that this package sends and takes. */
export const maxLabel = 256
export const maxMetadata = 4096

/** Decodes the payload of a DAT on the reserved id. Returns a record or a fault for every byte string. */
export const decodeRecord = (payload: Uint8Array): DialectRecord | Malformed => {
  const kind = payload[0]
  const body = payload.subarray(1)
  switch (kind) {
    case HELLO:
      return decodeHello(body) ?? malformed("HELLO")
    case OPEN:
      return decodeOpen(body) ?? malformed("OPEN")
    case RESET: {
      const reason = body.length < 8 ? undefined : decodeReason(body.subarray(8))
      return reason === undefined
        ? malformed("RESET")
        : { _tag: "Reset", id: readUint32(body, 0), code: readUint32(body, 4), reason }
    }
    case STOP:
      return body.length === 8
        ? { _tag: "Stop", id: readUint32(body, 0), code: readUint32(body, 4) }
        : malformed("STOP")
    case GOAWAY: {
      const reason = body.length < 9 ? undefined : decodeReason(body.subarray(9))
      return reason === undefined
        ? malformed("GOAWAY")
        : {
          _tag: "GoAway",
          code: readUint32(body, 0),
          graceMillis: readUint32(body, 4),
          redial: (body[8]! & 1) === 1,
          reason
        }
    }
    case PING:
    case PONG:
      return body.length === 8
        ? { _tag: kind === PING ? "Ping" : "Pong", payload: body }
        : malformed(kind === PING ? "PING" : "PONG")
    case undefined:
      return malformed("without a kind")
    default:
      return { _tag: "Unknown", kind }
  }
}

const decodeHello = (body: Uint8Array): Hello | undefined => {
  if (body.length >= maxHello || body.length < 8 || magic.some((byte, at) => body[at] !== byte)) return undefined
  const hello: { -readonly [K in keyof Hello]: Hello[K] } = { _tag: "Hello", features: readUint32(body, 4) }
  for (let at = 8; at < body.length;) {
    const value = at + 3
    if (value > body.length) return undefined
    const length = readUint16(body, at + 1)
    if (value + length > body.length) return undefined
    switch (body[at]) {
      case tlv.software:
        hello.software = decodeText(body.subarray(value, value + length))
        if (hello.software === undefined) return undefined
        break
      case tlv.window:
        if (length !== 4) return undefined
        hello.window = readUint32(body, value)
        break
      case tlv.earlyCredit:
        if (length !== 8) return undefined
        hello.earlyCredit = { perStream: readUint32(body, value), inAll: readUint32(body, value + 4) }
        break
      case tlv.longest:
        if (length !== 4) return undefined
        hello.longest = { label: readUint16(body, value), metadata: readUint16(body, value + 2) }
        break
      case tlv.backlog:
        if (length !== 4) return undefined
        hello.backlog = readUint32(body, value)
        break
      case tlv.resume:
        if (length !== offerSize) return undefined
        hello.resume = {
          sessionId: body.slice(value, value + 16),
          token: body.slice(value + 16, value + 48),
          graceMillis: readUint32(body, value + 48),
          keptBytes: readUint32(body, value + 52)
        }
    }
    at = value + length
  }
  return hello
}

const decodeOpen = (body: Uint8Array): Open | undefined => {
  if (body.length < 12) return undefined
  const labelEnd = 10 + readUint16(body, 8)
  if (labelEnd + 2 > body.length) return undefined
  const metadataEnd = labelEnd + 2 + readUint16(body, labelEnd)
  if (metadataEnd !== body.length || labelEnd - 10 > maxLabel || metadataEnd - labelEnd - 2 > maxMetadata) {
    return undefined
  }
  const label = decodeText(body.subarray(10, labelEnd))
  const metadata = decodeMetadata(body.subarray(labelEnd + 2))
  if (label === undefined || metadata === undefined) return undefined
  return { _tag: "Open", id: readUint32(body, 0), window: readUint32(body, 4), label, metadata }
}

const decodeReason = (bytes: Uint8Array): string | undefined => bytes.length > maxReason ? undefined : decodeText(bytes)

const malformed = (kind: string): Malformed => ({
  _tag: "Malformed",
  fault: "InvalidRecord",
  detail: `an invalid record ${kind}`
})

/** Encodes a whole message with a `Hello`. */
export const encodeHello = (hello: Omit<Hello, "_tag">): Uint8Array => {
  const values: Array<readonly [tag: number, value: Uint8Array]> = []
  const { backlog, earlyCredit, longest, software, window } = hello
  if (software !== undefined) values.push([tlv.software, encoder.encode(software)])
  if (window !== undefined) values.push([tlv.window, uint32s(window)])
  if (earlyCredit !== undefined) values.push([tlv.earlyCredit, uint32s(earlyCredit.perStream, earlyCredit.inAll)])
  if (longest !== undefined) {
    const bytes = new Uint8Array(4)
    writeUint16(bytes, 0, longest.label)
    writeUint16(bytes, 2, longest.metadata)
    values.push([tlv.longest, bytes])
  }
  if (backlog !== undefined) values.push([tlv.backlog, uint32s(backlog)])
  const body = new Uint8Array(values.reduce((sum, [, value]) => sum + 3 + value.length, 8))
  body.set(magic)
  writeUint32(body, 4, hello.features)
  let at = 8
  for (const [tag, value] of values) {
    body[at] = tag
    writeUint16(body, at + 1, value.length)
    body.set(value, at + 3)
    at += 3 + value.length
  }
  return message(HELLO, body)
}

/** Adds to the message of a `Hello` that its sender can resume, and the offer of an accepting end. */
export const addResume = (hello: Uint8Array, offer: ResumeOffer | undefined): Uint8Array => {
  const entry = offer === undefined
    ? []
    : [
      Uint8Array.of(tlv.resume, offerSize, 0),
      offer.sessionId,
      offer.token,
      uint32s(Math.min(offer.graceMillis, maxUint32), Math.min(offer.keptBytes, maxUint32))
    ]
  const body = message(HELLO, hello.subarray(recordHeaderSize), ...entry)
  writeUint32(body, featuresAt, readUint32(body, featuresAt) | Feature.resume)
  return body
}

/** The size of the value of `tlv.resume`. */
const offerSize = 56

/** The label and the metadata of an `Open`, encoded. */
export interface EncodedIntroduction {
  readonly label: Uint8Array
  readonly metadata: Uint8Array
}

export const noIntroduction: EncodedIntroduction = { label: new Uint8Array(0), metadata: new Uint8Array(0) }

/** Encodes a label and metadata. Throws `RangeError` where they are too long. */
export const encodeIntroduction = (label: string, metadata: Metadata): EncodedIntroduction => {
  const encoded = { label: encoder.encode(label), metadata: encodeMetadata(metadata) }
  if (encoded.label.length > maxLabel) {
    throw new RangeError(`cannot open a stream: its label has more than ${maxLabel} bytes`)
  }
  if (encoded.metadata.length > maxMetadata) {
    throw new RangeError(`cannot open a stream: its metadata has more than ${maxMetadata} bytes`)
  }
  return encoded
}

/** Encodes a whole message with an `Open`. */
export const encodeOpen = (id: number, window: number, { label, metadata }: EncodedIntroduction): Uint8Array => {
  const body = new Uint8Array(12 + label.length + metadata.length)
  writeUint32(body, 0, id)
  writeUint32(body, 4, window)
  writeUint16(body, 8, label.length)
  body.set(label, 10)
  writeUint16(body, 10 + label.length, metadata.length)
  body.set(metadata, 12 + label.length)
  return message(OPEN, body)
}

/** Encodes a whole message with a `Reset`. Cuts the reason at `maxReason` bytes. */
export const encodeReset = (id: number, code: number, reason: string): Uint8Array =>
  message(RESET, uint32s(id, code), encodeReason(reason))

/** Encodes a whole message with a `Stop`. */
export const encodeStop = (id: number, code: number): Uint8Array => message(STOP, uint32s(id, code))

/** Encodes a whole message with a `GoAway`. Cuts the reason at `maxReason` bytes. */
export const encodeGoAway = (goAway: Omit<GoAway, "_tag">): Uint8Array =>
  message(
    GOAWAY,
    uint32s(goAway.code, Math.min(goAway.graceMillis, maxUint32)),
    Uint8Array.of(goAway.redial ? 1 : 0),
    encodeReason(goAway.reason)
  )

/** Encodes a whole message with a `Ping` of 8 bytes. */
export const encodePing = (payload: Uint8Array): Uint8Array => message(PING, payload)

/** Encodes a whole message with a `Pong` of 8 bytes. */
export const encodePong = (payload: Uint8Array): Uint8Array => message(PONG, payload)

/** Encodes a text of at most `maxReason` bytes. A longer text loses its end, between two characters. */
export const encodeReason = (reason: string): Uint8Array => {
  const bytes = encoder.encode(reason)
  if (bytes.length <= maxReason) return bytes
  let end = maxReason
  while ((bytes[end]! & 0xc0) === 0x80) end-- // a byte inside a character
  return bytes.subarray(0, end)
}

/** Little-endian integers, one behind the other. */
export const uint32s = (...values: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(4 * values.length)
  values.forEach((value, at) => writeUint32(bytes, 4 * at, value))
  return bytes
}

/** A whole message: the header of a DAT on the reserved id, the kind, and the body. */
export const message = (kind: number, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const header = datHeader(reservedId)
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, header.length + 1))
  bytes.set(header)
  bytes[header.length] = kind
  let at = header.length + 1
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

const encoder = new TextEncoder()
