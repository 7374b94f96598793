/**
 * A message in parts: the header of a frame, and the chunks of its payload. The writer must not change the chunks until
 * the message is sent.
 */
export type FrameParts = readonly [header: Uint8Array, ...payload: Array<Uint8Array>]

/** Returns the size of a frame's payload in bytes. */
export const payloadSize = (frame: FrameParts): number => {
  let size = 0
  for (let i = 1; i < frame.length; i++) size += frame[i]!.byteLength
  return size
}
