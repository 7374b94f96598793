import { readUint32 } from "./frame.js"
import { decodeText } from "./metadata.js"
import { encodeReason, maxReason, message, PING, PONG, recordHeaderSize, uint32s } from "./record.js"

/**
 * The records by which a session goes on over another WebSocket. The transport below the session sends and reads them,
 * and the session ignores their kinds. `src/README.md` has the format of each.
 */
export type ResumeRecord = Received | Resume | Resumed | Rejected

/** The sender has handled so many messages of its peer. */
export interface Received {
  readonly _tag: "Received"
  readonly count: number
}

/** The first message of the dialling end on a new WebSocket. */
export interface Resume {
  readonly _tag: "Resume"
  readonly sessionId: Uint8Array
  readonly token: Uint8Array
  /** Grows with every attempt. A record with a smaller number comes from an attempt that was given up. */
  readonly attempt: number
  /** How many messages of the peer the sender has handled. */
  readonly received: number
  /** The number of the oldest message that the sender can repeat. */
  readonly firstKept: number
}

/** The session goes on over this WebSocket. Both ends repeat what the other has not received. */
export interface Resumed {
  readonly _tag: "Resumed"
  readonly received: number
  readonly firstKept: number
  /** Takes the place of the former token. */
  readonly token: Uint8Array
}

/** The session cannot be resumed. The accepting end closes the WebSocket. */
export interface Rejected {
  readonly _tag: "Rejected"
  readonly code: number
  readonly reason: string
}

/** Codes of `Rejected`. */
export const RejectCode = {
  /** The accepting end holds no such session, or another token. */
  unknown: 1,
  /** The session belongs to another principal. */
  principal: 2,
  /** Bytes that one end needs are no longer kept, or the counts contradict each other. */
  counts: 3,
  /** A later attempt has been made. */
  attempt: 4
} as const

const RECEIVED = 8
const RESUME = 9
const RESUMED = 10
const REJECTED = 11

export const sessionIdSize = 16
export const tokenSize = 32

/** The kind of a record; undefined for a frame. `first` begins the message, with at least the header of a record. */
export const kindOf = (first: Uint8Array): number | undefined =>
  first[1] === 0xff && first[4] === 0xff && first[2] === 0xff && first[3] === 0xff && first[0] === 0
    ? first[5]
    : undefined

/** Whether messages of this kind are left out of the counts, and are not repeated: each is void after a loss. */
export const isUncounted = (kind: number): boolean => kind >= PING && kind <= REJECTED

/** Whether the record belongs to the transport, and the session does not get it. */
export const isResumeKind = (kind: number): boolean => kind >= RECEIVED && kind <= REJECTED

export const isPing = (kind: number): boolean => kind === PING || kind === PONG

/** Decodes the message of a record. Undefined for another message, and for a record that breaks its format. */
export const decode = (bytes: Uint8Array): ResumeRecord | undefined => {
  const kind = kindOf(bytes)
  const body = bytes.subarray(recordHeaderSize)
  if (kind === RECEIVED) {
    const count = body.length === 8 ? readCount(body, 0) : undefined
    return count === undefined ? undefined : { _tag: "Received", count }
  }
  if (kind === RESUME) {
    if (body.length !== sessionIdSize + tokenSize + 20) return undefined
    const received = readCount(body, 52)
    const firstKept = readCount(body, 60)
    if (received === undefined || firstKept === undefined) return undefined
    return {
      _tag: "Resume",
      sessionId: body.slice(0, sessionIdSize),
      token: body.slice(sessionIdSize, sessionIdSize + tokenSize),
      attempt: readUint32(body, 48),
      received,
      firstKept
    }
  }
  if (kind === RESUMED) {
    const received = body.length === tokenSize + 16 ? readCount(body, 0) : undefined
    const firstKept = body.length === tokenSize + 16 ? readCount(body, 8) : undefined
    if (received === undefined || firstKept === undefined) return undefined
    return { _tag: "Resumed", received, firstKept, token: body.slice(16) }
  }
  if (kind === REJECTED) {
    const reason = body.length >= 4 && body.length <= 4 + maxReason ? decodeText(body.subarray(4)) : undefined
    return reason === undefined ? undefined : { _tag: "Rejected", code: readUint32(body, 0), reason }
  }
  return undefined
}

export const encodeReceived = (count: number): Uint8Array => message(RECEIVED, uint64(count))

export const encodeResume = ({ attempt, firstKept, received, sessionId, token }: Omit<Resume, "_tag">): Uint8Array =>
  message(RESUME, sessionId, token, uint32s(attempt), uint64(received), uint64(firstKept))

export const encodeResumed = ({ firstKept, received, token }: Omit<Resumed, "_tag">): Uint8Array =>
  message(RESUMED, uint64(received), uint64(firstKept), token)

/** Cuts the reason at `maxReason` bytes. */
export const encodeRejected = (code: number, reason: string): Uint8Array =>
  message(REJECTED, uint32s(code), encodeReason(reason))

const uint64 = (value: number): Uint8Array => uint32s(value % two32, Math.floor(value / two32))

/** Reads a little-endian uint64. Undefined beyond the whole numbers that a `number` holds. */
const readCount = (bytes: Uint8Array, at: number): number | undefined => {
  const count = readUint32(bytes, at) + readUint32(bytes, at + 4) * two32
  return Number.isSafeInteger(count) ? count : undefined
}

const two32 = 2 ** 32
