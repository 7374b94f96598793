import type * as Net from "node:net"
import type { WebSocket } from "ws"
import { mask } from "./mask.js"

/**
 * Writes binary messages to the socket of an established WebSocket, each as one frame (RFC 6455, 5.2), in the place of
 * the sender of `ws`: that one copies a message once more in order to mask it, byte by byte, which costs a client more
 * than all the rest. Here a message is copied once, next to those of the same turn, masked where it lies, by words, and
 * leaves with them in one write. Only where the turn before had a single frame is the first message of a turn not kept
 * waiting for more: it is most likely a key stroke, the answer to one, or the credit for which a writer waits.
 *
 * `ws` writes its own control frames to the same socket. Both write whole frames in one step, so they never mix; and neither
 * sends data behind a close frame.
 */
export class FrameWriter {
  readonly #ws: WebSocket
  readonly #socket: Net.Socket
  readonly #masked: boolean
  readonly #toKernel: boolean
  readonly #written: () => void
  /** The frames of this turn, up to `#size`. */
  #batch: Buffer | undefined
  #size = 0
  /** How many frames this turn has had, and whether the turn before had one only. */
  #frames = 0
  #wasAlone = false

  /**
   * @param masked whether this end is the client, which has to mask what it sends
   * @param written told when the kernel has taken more
   */
  constructor(ws: WebSocket, socket: Net.Socket, masked: boolean, written: () => void) {
    this.#ws = ws
    this.#socket = socket
    this.#toKernel = writesToKernel(socket)
    this.#masked = masked
    this.#written = written
  }

  /** Bytes that the kernel has not taken. */
  get unsent(): number {
    return this.#socket.writableLength + this.#size
  }

  /** Sends a binary message. */
  send(parts: ReadonlyArray<Uint8Array>): void {
    this.#send(binary, parts)
  }

  /** Sends a control frame, with at most 125 bytes, in its place between the messages. */
  control(opcode: typeof ping | typeof pong, payload: Uint8Array): void {
    this.#send(opcode, [payload])
  }

  #send(opcode: number, parts: ReadonlyArray<Uint8Array>): void {
    let length = 0
    for (const part of parts) length += part.byteLength
    const size = headerSize(length, this.#masked) + length
    if (this.#batch !== undefined && size > this.#batch.byteLength - this.#size) this.flush()
    this.#batch ??= takeBatch(size)
    // Fibers run in microtasks, so the turn is over when those that are ready now have run.
    if (this.#frames === 0) void resolved.then(this.#schedule)
    this.#size = writeFrame(this.#batch, this.#size, opcode, parts, length, this.#masked ? randomKey() : undefined)
    this.#frames++
    const urgent = this.#wasAlone && this.#frames === 1
    if (urgent || this.#size >= worthAWrite) this.flush()
  }

  /** Writes what has come together. */
  flush(): void {
    const batch = this.#batch
    if (batch === undefined) return
    const size = this.#size
    this.#batch = undefined
    this.#size = 0
    if (this.#ws.readyState !== 1) return giveBack(batch)
    const frames = batch.subarray(0, size)
    // What has to wait in line keeps no larger buffer from others than itself.
    if (!this.#toKernel || (this.#socket.writableLength > 0 && size <= batchSize)) {
      this.#socket.write(Buffer.from(frames), this.#written)
      return giveBack(batch)
    }
    let lent = true
    const release = () => {
      if (lent) giveBack(batch)
      lent = false
    }
    this.#socket.write(frames, () => {
      release()
      this.#written()
    })
    if (this.#socket.writableLength === 0) release() // the kernel has it already, as nearly always
  }

  readonly #schedule = (): void => process.nextTick(this.#endTurn)

  readonly #endTurn = (): void => {
    this.#wasAlone = this.#frames === 1
    this.#frames = 0
    this.flush()
  }
}

/** Whether nothing refers to what was written once `writableLength` is 0. A stream that is no socket may pass it on as it is. */
const writesToKernel = (socket: Net.Socket & { readonly _handle?: unknown }): boolean => socket._handle != null

/** Costs less than `queueMicrotask`, which keeps an `AsyncResource` for each. */
const resolved = Promise.resolve()

/** A system call for so many bytes is cheap; to wait for more would let the peer be idle until this end's turn is over. */
const worthAWrite = 8 * 1024

/** Up to this size a batch is copied when it is written, so that it keeps no larger buffer than itself from others. */
const batchSize = 64 * 1024

/** Buffers that wait to be used again: memory that is still in the processor's cache, and no work for the collector. */
const spare: Array<Buffer> = []
const spareCapacity = 2 * batchSize
const maxSpare = 16

const takeBatch = (size: number): Buffer =>
  size <= spareCapacity ? spare.pop() ?? Buffer.allocUnsafeSlow(spareCapacity) : Buffer.allocUnsafeSlow(size)

const giveBack = (batch: Buffer): void => {
  if (batch.byteLength === spareCapacity && spare.length < maxSpare) spare.push(batch)
}

/** Writes a frame at `at`, and answers where it ends. */
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

/** Opcodes. */
const binary = 0x2
export const ping = 0x9
export const pong = 0xa

const headerSize = (length: number, masked: boolean): number =>
  (length < 126 ? 2 : length < 65536 ? 4 : 10) + (masked ? 4 : 0)

const writeHeader = (
  batch: Buffer,
  at: number,
  opcode: number,
  length: number,
  key: Uint8Array | undefined
): number => {
  const masked = key === undefined ? 0 : 0x80
  batch[at++] = 0x80 | opcode // the only frame of its message
  if (length < 126) {
    batch[at++] = masked | length
  } else if (length < 65536) {
    batch[at++] = masked | 126
    at = batch.writeUInt16BE(length, at)
  } else {
    batch[at++] = masked | 127
    at = batch.writeUInt32BE(Math.floor(length / 2 ** 32), at)
    at = batch.writeUInt32BE(length % 2 ** 32, at)
  }
  if (key === undefined) return at
  batch.set(key, at)
  return at + key.byteLength
}

/** Random bytes, drawn many keys at a time: a key must not be foreseeable by who chooses the payload. */
const keys = new Uint8Array(8192)
let spent = keys.byteLength

const randomKey = (): Uint8Array => {
  if (spent === keys.byteLength) {
    crypto.getRandomValues(keys)
    spent = 0
  }
  spent += 4
  return keys.subarray(spent - 4, spent)
}
