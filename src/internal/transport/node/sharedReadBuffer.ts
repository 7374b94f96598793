import type * as Net from "node:net"

/** The private part of Node's socket that is used here. */
interface Handle {
  readonly useUserBuffer?: (buffer: Uint8Array) => void
}

/**
 * Lets a socket read into one buffer that all sockets share, instead of allocating 64 KiB for each read. Node itself
 * does so for a socket with the option `onread`, which the socket of an HTTP upgrade lacks.
 *
 * The `data` listener of the socket is no longer called. Returns false and changes nothing where reads may be nested
 * (TLS) or the runtime is another one, where the socket has other readers, and where it is paused and may hold bytes.
 *
 * @param read keeps no reference to the bytes; returns false to stop reading until the socket is resumed
 */
export const readIntoSharedBuffer = (socket: Net.Socket, read: (bytes: Buffer) => boolean): boolean => {
  const handle = (socket as unknown as { readonly _handle?: Handle | null })._handle
  const symbols = Object.getOwnPropertySymbols(socket)
  const buffer = symbols.find(({ description }) => description === "kBuffer")
  const callback = symbols.find(({ description }) => description === "kBufferCb")
  if ("encrypted" in socket || !handle?.useUserBuffer || buffer === undefined || callback === undefined) return false
  if (socket.isPaused() || socket.listenerCount("data") > 1) return false
  shared ??= Buffer.allocUnsafeSlow(sharedSize)
  Object.assign(socket, { [buffer]: shared, [callback]: (size: number) => read(shared!.subarray(0, size)) })
  handle.useUserBuffer(shared)
  return true
}

let shared: Buffer | undefined

/**
 * Node's own size. A larger buffer was no faster on a fast link. In a flood of tiny frames 256 KiB gave a third of
 * the frames per second, since the frames left the processor's cache.
 */
const sharedSize = 64 * 1024
