/** The bytes of all parts of a message. */
export const byteLength = (parts: ReadonlyArray<Uint8Array>): number => {
  let length = 0
  for (const part of parts) length += part.byteLength
  return length
}

/** Joins the parts of a message in a new buffer. */
export const concatBytes = (parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const message = new Uint8Array(byteLength(parts))
  let at = 0
  for (const part of parts) {
    message.set(part, at)
    at += part.byteLength
  }
  return message
}
