import { byteLength } from "../concatBytes.js"

/**
 * Copies bytes that may wait into memory of their own, joined. `Buffer.from` takes small copies from a pool that all
 * code of the process shares: of 8 KiB on Node 20 and 22, and of 64 KiB on Node 24 and 26. One waiting copy of a few
 * bytes would keep all of that alive.
 */
export const ownCopy = (...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const copy = Buffer.allocUnsafeSlow(byteLength(parts))
  let at = 0
  for (const part of parts) {
    copy.set(part, at)
    at += part.byteLength
  }
  return copy
}
