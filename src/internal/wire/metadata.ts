import { readUint16, writeUint16 } from "./frame.js"

/** Named texts that an opener sends with a stream, as headers go with an HTTP request. */
export type Metadata = Readonly<Record<string, string>>

export const emptyMetadata: Metadata = Object.freeze({})

/**
 * Encodes each entry as the length of its name (uint8), the name, the length of its value (uint16), and the value, all
 * texts in UTF-8. Throws `RangeError` for an entry that is too long for its length field.
 */
export const encodeMetadata = (metadata: Metadata): Uint8Array => {
  const entries = Object.entries(metadata).map(([name, value]) =>
    [encoder.encode(name), encoder.encode(value)] as const
  )
  const bytes = new Uint8Array(entries.reduce((sum, [name, value]) => sum + name.length + value.length + 3, 0))
  let at = 0
  for (const [name, value] of entries) {
    if (name.length > 0xff || value.length > 0xffff) {
      throw new RangeError("cannot encode metadata: an entry is too long")
    }
    bytes[at] = name.length
    bytes.set(name, at + 1)
    writeUint16(bytes, at + 1 + name.length, value.length)
    bytes.set(value, at + 3 + name.length)
    at += 3 + name.length + value.length
  }
  return bytes
}

/** Decodes metadata. Returns undefined for bytes of another format. The last of two entries with one name counts. */
export const decodeMetadata = (bytes: Uint8Array): Metadata | undefined => {
  if (bytes.length === 0) return emptyMetadata
  const entries: Array<readonly [string, string]> = []
  for (let at = 0; at < bytes.length;) {
    const value = at + 3 + bytes[at]!
    if (value > bytes.length) return undefined
    const end = value + readUint16(bytes, value - 2)
    if (end > bytes.length) return undefined
    const entry = [decodeText(bytes.subarray(at + 1, value - 2)), decodeText(bytes.subarray(value, end))] as const
    if (entry[0] === undefined || entry[1] === undefined) return undefined
    entries.push(entry as [string, string])
    at = end
  }
  return Object.fromEntries(entries)
}

/** Decodes UTF-8. Returns undefined for bytes that are not UTF-8. */
export const decodeText = (bytes: Uint8Array): string | undefined => {
  if (bytes.length === 0) return ""
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
