import * as Effect from "effect/Effect"
import type { Buffered, UnexpectedEnd } from "../../../ByteStream.js"
import { plainText } from "../../text/plainText.js"

/**
 * - `Message`: a message of RPC
 * - `Refusal`: the server serves no call on this stream, and tells why
 * - `TooLarge`: a message of this size follows and is not read
 */
export type Record =
  | { readonly _tag: "Message"; readonly bytes: Uint8Array }
  | { readonly _tag: "Refusal"; readonly detail: string }
  | { readonly _tag: "TooLarge"; readonly size: number }

/** Returns the first bytes of each stream of a label. Dies when the label is unsuitable. */
export const preambleOf = (label: string): Uint8Array => {
  if (!/^[\x21-\x7e]{1,64}$/.test(label)) {
    throw new RangeError(`cannot use the label ${JSON.stringify(label)}: it must have 1 to 64 visible ASCII characters`)
  }
  return encoder.encode(`wsmux-rpc/1 ${label}\n`)
}

export const toBytes = (encoded: Uint8Array | string): Uint8Array =>
  typeof encoded === "string" ? encoder.encode(encoded) : encoded

/** Returns the record of a message, behind other bytes. */
export const messageRecord = (message: Uint8Array, before: Uint8Array = nothing): Uint8Array =>
  record(message.byteLength, message, before)

export const refusalRecord = (detail: string): Uint8Array => {
  const bytes = encoder.encode(detail).subarray(0, maxDetail)
  return record(refusalFlag + bytes.byteLength, bytes, nothing)
}

/** Reads the next record. Fails with `UnexpectedEnd` at the end of the stream. */
export const readRecord = <R>(
  stream: Pick<Buffered<R>, "readExactly">,
  maxMessageSize: number
): Effect.Effect<Record, R | UnexpectedEnd> =>
  Effect.flatMap(stream.readExactly(headerSize), (header): Effect.Effect<Record, R | UnexpectedEnd> => {
    const word = new DataView(header.buffer, header.byteOffset).getUint32(0, true)
    const isRefusal = word >= refusalFlag
    const size = isRefusal ? word - refusalFlag : word
    if (size > (isRefusal ? maxDetail : maxMessageSize)) return Effect.succeed({ _tag: "TooLarge", size })
    return Effect.map(stream.readExactly(size), (bytes) =>
      isRefusal
        ? { _tag: "Refusal", detail: plainText(new TextDecoder().decode(bytes)) }
        : { _tag: "Message", bytes })
  })

/**
 * Whether the stream begins with these bytes, which are then taken. Otherwise the stream is as before. Decides at the
 * first byte that differs, since the opener of a foreign stream may wait for an answer to few bytes.
 */
export const takePrefix = <R>(
  stream: Pick<Buffered<R>, "read" | "unread">,
  prefix: Uint8Array
): Effect.Effect<boolean, R> => {
  const continueWith = (seen: Uint8Array): Effect.Effect<boolean, R> =>
    Effect.flatMap(stream.read, (chunk) => {
      if (chunk._tag === "None") return Effect.as(stream.unread(seen), false)
      const bytes = seen.byteLength === 0 ? chunk.value : concat(seen, chunk.value)
      const count = Math.min(bytes.byteLength, prefix.byteLength)
      for (let i = 0; i < count; i++) if (bytes[i] !== prefix[i]) return Effect.as(stream.unread(bytes), false)
      return count < prefix.byteLength ? continueWith(bytes) : Effect.as(stream.unread(bytes.subarray(count)), true)
    })
  return continueWith(nothing)
}

const record = (word: number, body: Uint8Array, before: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(before.byteLength + headerSize + body.byteLength)
  whole.set(before)
  new DataView(whole.buffer).setUint32(before.byteLength, word, true)
  whole.set(body, before.byteLength + headerSize)
  return whole
}

const concat = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(a.byteLength + b.byteLength)
  whole.set(a)
  whole.set(b, a.byteLength)
  return whole
}

const nothing = new Uint8Array(0)
const encoder = new TextEncoder()

const headerSize = 4

/** The highest bit of a header marks a refusal. So no message reaches 2 GiB. */
const refusalFlag = 0x8000_0000

/** The longest refusal in bytes: more than the 512 units that a log line shows of it. */
const maxDetail = 1024
