const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const bytes = (text: string): Uint8Array => encoder.encode(text)

export const text = (chunk: Uint8Array): string => decoder.decode(chunk)

/** The same bytes for the same seed, without a period that could hide a fault. */
export const pattern = (length: number, seed = 1): Uint8Array => {
  const out = new Uint8Array(length)
  let x = seed
  for (let i = 0; i < length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    out[i] = x
  }
  return out
}

export const concat = (chunks: Iterable<Uint8Array>): Uint8Array => {
  const all = Array.from(chunks)
  const out = new Uint8Array(all.reduce((sum, chunk) => sum + chunk.byteLength, 0))
  let at = 0
  for (const chunk of all) {
    out.set(chunk, at)
    at += chunk.byteLength
  }
  return out
}
