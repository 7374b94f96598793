/**
 * A message in parts: the header of a frame, and the chunks of its payload. The writer owns the chunks until it is
 * sent.
 */
export type FrameParts = readonly [header: Uint8Array, ...payload: Array<Uint8Array>]

/** The bytes of a frame without its header. */
export const payloadSize = (frame: FrameParts): number => {
  let size = 0
  for (let i = 1; i < frame.length; i++) size += frame[i]!.byteLength
  return size
}
