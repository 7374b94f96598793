/** A message in parts: a header, and the chunks of its payload. The chunks are the writers' until it is handed over. */
export type FrameParts = readonly [header: Uint8Array, ...payload: Array<Uint8Array>]
