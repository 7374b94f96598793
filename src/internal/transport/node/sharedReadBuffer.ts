import type * as Net from "node:net"

/** What is used of Node's socket that is not part of its interface. */
interface Handle {
  readonly useUserBuffer?: (buffer: Uint8Array) => void
}

/**
 * Lets a socket read into one buffer, which all share, instead of allocating 64 KiB for each read. Node does so itself
 * for a socket that is made with the option `onread`; but the sockets of an HTTP upgrade are made by others.
 *
 * The listener to the socket's `data` hears no more of it. False where it cannot be done (TLS, whose reads may be nested,
 * or another runtime) or must not be (others listen, too, or it is paused and what it has read may wait in it), and nothing
 * has changed.
 *
 * @param read takes what was read before it returns, and answers whether more may follow; while not, `resume` is waited for
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
 * Node's own size. A larger one is read no faster on a fast link, and its frames leave the processor's cache: under a flood of
 * tiny frames 256 KiB gave a third of the frames a second.
 */
const sharedSize = 64 * 1024
