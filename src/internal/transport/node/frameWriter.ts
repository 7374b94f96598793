import type * as Net from "node:net"
import type { WebSocket } from "ws"
import { binary, headerSize, type ping, type pong, writeHeader } from "./frameHeader.js"
import { mask } from "./mask.js"

/**
 * Writes binary messages to the socket of an established WebSocket, each as one frame (RFC 6455, 5.2), in the place
 * of the sender of `ws`. That sender copies a message once more and masks it byte by byte, which costs a client more
 * than all the rest.
 *
 * This writer copies a message once, into the batch of the turn, and masks it there by words. A batch is one write.
 * The first message of a turn is written at once when the turn before had a single frame. Such a message is most
 * likely a key stroke, the answer to one, or credit for which a writer waits.
 *
 * `ws` writes its own control frames to the same socket. Both write whole frames in one step, so that frames never mix.
 * Neither sends data behind a close frame.
 */
export class FrameWriter {
  readonly #ws: WebSocket
  readonly #socket: Net.Socket
  readonly #masked: boolean
  readonly #toKernel: boolean
  readonly #written: () => void
  /** The unwritten frames of this turn, up to `#size`. */
  #batch: Buffer | undefined
  #size = 0
  /** The frames of this turn, and whether the turn before had a single one. */
  #frames = 0
  #wasAlone = false

  /**
   * @param masked whether this end is the client, which masks what it sends
   * @param written called when the kernel has taken more bytes
   */
  constructor(ws: WebSocket, socket: Net.Socket, masked: boolean, written: () => void) {
    this.#ws = ws
    this.#socket = socket
    this.#toKernel = writesToKernel(socket)
    this.#masked = masked
    this.#written = written
  }

  /** The bytes that the kernel has not taken. */
  get unsent(): number {
    return this.#socket.writableLength + this.#size
  }

  /** Sends a binary message. */
  send(parts: ReadonlyArray<Uint8Array>): void {
    this.#send(binary, parts)
  }

  /** Sends a control frame of at most 125 bytes, in its place between the messages. */
  control(opcode: typeof ping | typeof pong, payload: Uint8Array): void {
    this.#send(opcode, [payload])
  }

  #send(opcode: number, parts: ReadonlyArray<Uint8Array>): void {
    let length = 0
    for (const part of parts) length += part.byteLength
    const size = headerSize(length, this.#masked) + length
    if (this.#batch !== undefined && size > this.#batch.byteLength - this.#size) this.flush()
    this.#batch ??= acquireBatch(size)
    // Fibers run in microtasks, so the turn ends when those that are ready now have run.
    if (this.#frames === 0) void resolved.then(this.#schedule)
    this.#size = writeFrame(this.#batch, this.#size, opcode, parts, length, this.#masked ? randomKey() : undefined)
    this.#frames++
    const urgent = this.#wasAlone && this.#frames === 1
    if (urgent || this.#size >= flushSize) this.flush()
  }

  /** Writes the batch. */
  flush(): void {
    const batch = this.#batch
    if (batch === undefined) return
    const size = this.#size
    this.#batch = undefined
    this.#size = 0
    if (this.#ws.readyState !== 1) return recycle(batch)
    const frames = batch.subarray(0, size)
    // A batch that has to queue is copied, so that it does not hold a pooled buffer.
    if (!this.#toKernel || (this.#socket.writableLength > 0 && size <= batchSize)) {
      this.#socket.write(Buffer.from(frames), this.#written)
      return recycle(batch)
    }
    let isLent = true
    const release = () => {
      if (isLent) recycle(batch)
      isLent = false
    }
    this.#socket.write(frames, () => {
      release()
      this.#written()
    })
    if (this.#socket.writableLength === 0) release() // the kernel has taken it at once, as nearly always
  }

  readonly #schedule = (): void => process.nextTick(this.#endTurn)

  readonly #endTurn = (): void => {
    this.#wasAlone = this.#frames === 1
    this.#frames = 0
    this.flush()
  }
}

/**
 * Whether the written bytes are free once `writableLength` is 0. A stream other than a socket may keep a reference to
 * them.
 */
const writesToKernel = (socket: Net.Socket & { readonly _handle?: unknown }): boolean => socket._handle != null

/** Cheaper than `queueMicrotask`, which makes an `AsyncResource` for each call. */
const resolved = Promise.resolve()

/**
 * At this size the cost of a system call is small, and waiting for more would leave the peer idle until the turn
 * ends.
 */
const flushSize = 8 * 1024

/** A batch up to this size is copied when it has to queue. */
const batchSize = 64 * 1024

/** Pooled buffers: their memory is still in the processor's cache, and costs the collector no work. */
const pool: Array<Buffer> = []
const pooledSize = 2 * batchSize
const maxPooled = 16

const acquireBatch = (size: number): Buffer =>
  size <= pooledSize ? pool.pop() ?? Buffer.allocUnsafeSlow(pooledSize) : Buffer.allocUnsafeSlow(size)

const recycle = (batch: Buffer): void => {
  if (batch.byteLength === pooledSize && pool.length < maxPooled) pool.push(batch)
}

/** Writes a frame at `at`, and returns where the frame ends. */
const writeFrame = (
  batch: Buffer,
  at: number,
  opcode: number,
  parts: ReadonlyArray<Uint8Array>,
  length: number,
  key: Uint8Array | undefined
): number => {
  const start = writeHeader(batch, at, opcode, length, key)
  let end = start
  for (const part of parts) {
    batch.set(part, end)
    end += part.byteLength
  }
  if (key !== undefined) mask(batch, start, end, key)
  return end
}

/** Random bytes for many keys. The author of a payload must not be able to predict its key (RFC 6455, 10.3). */
const keys = new Uint8Array(8192)
let usedBytes = keys.byteLength

const randomKey = (): Uint8Array => {
  if (usedBytes === keys.byteLength) {
    crypto.getRandomValues(keys)
    usedBytes = 0
  }
  usedBytes += 4
  return keys.subarray(usedBytes - 4, usedBytes)
}
