/** Bytes that differ by seed, the same in the page and on the server. */
export const content = (size: number, seed: number): Uint8Array => {
  const data = new Uint8Array(size)
  let state = seed * 2_654_435_761 + 1
  for (let i = 0; i < size; i++) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223
    data[i] = state >>> 24
  }
  return data
}

/** The settings of both ends. */
export const settings = { streamBufferSize: 64 * 1024, dialect: "auto" } as const

/** A window of as much as the slow way carries in 4 s. */
export const wideWindow = 4 * 1024 * 1024
