import type * as Net from "node:net"
import type { WebSocket } from "ws"
import { byteLength } from "../concatBytes.js"
import { binary, headerSize, type ping, pong, writeHeader } from "./frameHeader.js"
import { mask } from "./mask.js"
import { ownCopy } from "./ownCopy.js"

/**
 * Writes binary messages to the socket of an established WebSocket, each as one frame (RFC 6455, 5.2), in the place
 * of the sender of `ws`. That sender copies a message once more and masks it byte by byte, which costs a client more
 * than all the rest.
 *
 * This writer copies a message once, into the batch of the turn, and masks it there by words. A batch is one write.
 * The first message of a turn is written at once when the turn before had a single message. Such a message is most
 * likely a key stroke, the answer to one, or credit for which a writer waits.
 *
 * The last message of a batch can be extended, since its header and mask are written when the next one begins. Small
 * writes of one turn so share a frame, which costs both ends as much as one write.
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
  /** The last frame of the batch: where it begins, its opcode, and the length of its payload so far. */
  #frameStart = 0
  #opcode = binary
  #length: number | undefined
  /** The size at which the batch is written before the turn ends. */
  #flushSize = minFlushSize
  #isScheduled = false
  /** The messages of this turn, and whether the turn before had a single one. */
  #messages = 0
  #wasAlone = false
  /** Called when the kernel has taken the batch. */
  #onLeft: Array<() => void> | undefined

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

  /** Sends a binary message. `more`: another message follows in the same step, and the two count as one. */
  send(parts: ReadonlyArray<Uint8Array>, more = false): void {
    this.#send(binary, parts, more)
  }

  /** Adds bytes to the binary message that was sent last. Returns false when the message has left. */
  extend(parts: ReadonlyArray<Uint8Array>): boolean {
    const batch = this.#batch
    if (batch === undefined || this.#length === undefined || this.#opcode !== binary) return false
    const length = this.#length + byteLength(parts)
    const before = headerSize(this.#length, this.#masked)
    const after = headerSize(length, this.#masked)
    if (this.#frameStart + after + length > batch.byteLength) return false
    if (after > before) batch.copyWithin(this.#frameStart + after, this.#frameStart + before, this.#size)
    copy(parts, batch, this.#size + after - before)
    this.#length = length
    this.#size = this.#frameStart + after + length
    if (this.#size >= this.#flushSize) this.flush()
    return true
  }

  /** Sends a control frame of at most 125 bytes, in its place between the messages. */
  control(opcode: typeof ping | typeof pong, payload: Uint8Array): void {
    this.#send(opcode, [payload], false)
  }

  /** Answers a ping, in one write with the other messages of the turn. `left` is called when the kernel has it. */
  answer(payload: Uint8Array, left: () => void): void {
    ;(this.#onLeft ??= []).push(left) // before the frame, which may leave at once
    this.#send(pong, [payload], false)
  }

  #send(opcode: number, parts: ReadonlyArray<Uint8Array>, more: boolean): void {
    const length = byteLength(parts)
    const size = headerSize(length, this.#masked) + length
    this.#endFrame()
    if (this.#batch !== undefined && size > this.#batch.byteLength - this.#size) this.flush()
    this.#batch ??= acquireBatch(size)
    // Fibers run in microtasks, so the turn ends when those that are ready now have run.
    if (!this.#isScheduled) void resolved.then(this.#schedule)
    this.#isScheduled = true
    this.#frameStart = this.#size
    this.#opcode = opcode
    this.#length = length
    copy(parts, this.#batch, this.#size + size - length)
    this.#size += size
    if (!more) this.#messages++
    const urgent = this.#wasAlone && this.#messages === 1 && !more
    if (urgent || this.#size >= this.#flushSize) this.flush()
  }

  /** Writes the header of the last frame, and masks its payload. */
  #endFrame(): void {
    if (this.#length === undefined) return
    const key = this.#masked ? randomKey() : undefined
    const payload = writeHeader(this.#batch!, this.#frameStart, this.#opcode, this.#length, key)
    if (key !== undefined) mask(this.#batch!, payload, this.#size, key)
    this.#length = undefined
  }

  /** Writes the batch. */
  flush(): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#endFrame()
    this.#flushSize = Math.min(2 * this.#flushSize, maxFlushSize)
    const size = this.#size
    this.#batch = undefined
    this.#size = 0
    const onLeft = this.#onLeft ?? none
    this.#onLeft = undefined
    if (this.#ws.readyState !== 1) return recycle(batch)
    const frames = batch.subarray(0, size)
    // A batch that has to queue is copied, so that it does not hold a pooled buffer.
    if (!this.#toKernel || (this.#socket.writableLength > 0 && size <= batchSize)) {
      this.#socket.write(ownCopy(frames), () => {
        for (const left of onLeft) left()
        this.#written()
      })
      return recycle(batch)
    }
    let isLent = true
    const release = () => {
      if (!isLent) return
      isLent = false
      recycle(batch)
      for (const left of onLeft) left()
    }
    this.#socket.write(frames, () => {
      release()
      this.#written()
    })
    if (this.#socket.writableLength === 0) release() // the kernel has taken it at once, as nearly always
  }

  readonly #schedule = (): void => process.nextTick(this.#endTurn)

  readonly #endTurn = (): void => {
    this.#isScheduled = false
    this.#wasAlone = this.#messages === 1
    this.#messages = 0
    this.flush()
    this.#flushSize = minFlushSize
  }
}

/**
 * Whether the written bytes are free once `writableLength` is 0. A stream other than a socket may keep a reference to
 * them.
 */
const writesToKernel = (socket: Net.Socket & { readonly _handle?: unknown }): boolean => socket._handle != null

const none: ReadonlyArray<() => void> = []

/** Cheaper than `queueMicrotask`, which makes an `AsyncResource` for each call. */
const resolved = Promise.resolve()

/**
 * At this size the cost of a system call is small, and waiting for more would leave the peer idle until the turn
 * ends. The peer then has work, so each later batch of a turn may be twice as large.
 */
const minFlushSize = 8 * 1024
const maxFlushSize = 32 * 1024

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

const copy = (parts: ReadonlyArray<Uint8Array>, batch: Buffer, at: number): void => {
  for (const part of parts) {
    batch.set(part, at)
    at += part.byteLength
  }
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
