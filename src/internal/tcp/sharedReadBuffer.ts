import type * as Net from "node:net"

/** The private part of Node's socket that is used here. */
interface Handle {
  readonly useUserBuffer?: (buffer: Uint8Array) => void
}

/**
 * Lets a socket read into one buffer that all sockets share, instead of allocating 64 KiB for each read. Node itself
 * does so for a socket with the option `onread`, which accepted sockets and those of an HTTP upgrade lack.
 *
 * The `data` listener of the socket is no longer called. Returns false and changes nothing where reads may be nested
 * (TLS) or the runtime is another one, where the socket has other readers, and where it is paused or holds bytes.
 *
 * @param read keeps no reference to the bytes; returns false to stop reading until the socket is resumed
 * @param mostBytes limits the next read, up to `sharedSize`
 */
export const readIntoSharedBuffer = (
  socket: Net.Socket,
  read: (bytes: Buffer) => boolean,
  mostBytes?: () => number
): boolean => {
  const handle = (socket as unknown as { readonly _handle?: Handle | null })._handle
  if ("encrypted" in socket || !handle?.useUserBuffer) return false
  const fields = fieldsOf(socket)
  if (fields === undefined) return false
  if (socket.isPaused() || socket.readableLength > 0 || socket.listenerCount("data") > 1) return false
  const all = shared ??= Buffer.allocUnsafeSlow(sharedSize)
  const first = mostBytes === undefined ? all : all.subarray(0, mostBytes())
  let limit = first.length
  const next = () => {
    const most = mostBytes!()
    if (most === limit) return undefined // Node keeps the buffer
    limit = most
    return all.subarray(0, most)
  }
  const internals = socket as unknown as Record<symbol, unknown>
  internals[fields.buffer] = first
  internals[fields.callback] = (size: number) => read(all.subarray(0, size))
  internals[fields.generator] = mostBytes === undefined ? null : next
  handle.useUserBuffer(first)
  return true
}

/** The private fields of a socket for the option `onread`. */
interface Fields {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

/** Those of the first socket, which all sockets of Node have. */
let known: Fields | undefined

const fieldsOf = (socket: Net.Socket): Fields | undefined => {
  if (known !== undefined && known.buffer in socket) return known
  const symbols = Object.getOwnPropertySymbols(socket)
  const named = (name: string) => symbols.find(({ description }) => description === name)
  const [buffer, callback, generator] = [named("kBuffer"), named("kBufferCb"), named("kBufferGen")]
  if (buffer === undefined || callback === undefined || generator === undefined) return undefined
  return known = { buffer, callback, generator }
}

let shared: Buffer | undefined

/**
 * Node's own size. A larger buffer was no faster on a fast link. In a flood of tiny frames 256 KiB gave a third of
 * the frames per second, since the frames left the processor's cache.
 */
export const sharedSize = 64 * 1024
