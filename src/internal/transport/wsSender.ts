import type * as Net from "node:net"

/**
 * Writes binary messages to the socket of an established WebSocket, each as one frame (RFC 6455, 5.2), in the place of
 * the sender of `ws`: that one copies a message a second time in order to mask it, byte by byte, which costs a client
 * more than all the rest. Here a message is masked where it lies, four bytes at a time, and the frames of one turn leave
 * in one system call.
 *
 * `ws` writes its control frames to the same socket. Both write whole frames in one step, so they never mix; this holds
 * where no extension was negotiated, since `ws` then queues nothing of its own.
 */
export class WsSender {
  readonly #socket: Net.Socket
  readonly #masked: boolean
  #corked = false
  #corkedBytes = 0

  /** @param masked whether this end is the client, which has to mask what it sends */
  constructor(socket: Net.Socket, masked: boolean) {
    this.#socket = socket
    this.#masked = masked
  }

  /** Bytes that the kernel has not taken. */
  get unsent(): number {
    return this.#socket.writableLength
  }

  /** Sends a message, whose bytes are its own from now on. `done` is called when the kernel has taken it. */
  send(message: Uint8Array, done: () => void): void {
    this.#cork(message.byteLength)
    const key = this.#masked ? randomKey() : undefined
    if (message.byteLength <= joinedSize) {
      const size = headerSize(message.byteLength, key !== undefined)
      const frame = Buffer.allocUnsafe(size + message.byteLength)
      writeHeader(frame, message.byteLength, key)
      frame.set(message, size)
      if (key !== undefined) mask(frame.subarray(size), key)
      this.#socket.write(frame, done)
    } else {
      const header = Buffer.allocUnsafe(headerSize(message.byteLength, key !== undefined))
      writeHeader(header, message.byteLength, key)
      if (key !== undefined) mask(message, key)
      this.#socket.write(header)
      this.#socket.write(message, done)
    }
  }

  /** Holds the socket back until the turn is over, or enough has come together to be worth a system call. */
  #cork(bytes: number): void {
    if (!this.#corked) {
      this.#corked = true
      this.#corkedBytes = 0
      this.#socket.cork()
      // Fibers run in microtasks, so the turn is over when those that are ready now have run.
      queueMicrotask(this.#schedule)
    }
    this.#corkedBytes += bytes
    if (this.#corkedBytes < batchSize) return
    this.#corkedBytes = 0
    this.#socket.uncork()
    this.#socket.cork()
  }

  readonly #schedule = (): void => process.nextTick(this.#uncork)

  readonly #uncork = (): void => {
    this.#corked = false
    this.#socket.uncork()
  }
}

/** A system call for this many bytes costs next to nothing per byte; to wait for more would only delay the peer. */
const batchSize = 64 * 1024

/** Up to this size a copy is cheaper than a write of its own. */
const joinedSize = 4 * 1024

const headerSize = (length: number, masked: boolean): number =>
  (length < 126 ? 2 : length < 65536 ? 4 : 10) + (masked ? 4 : 0)

const writeHeader = (frame: Buffer, length: number, key: Uint8Array | undefined): void => {
  const masked = key === undefined ? 0 : 0x80
  frame[0] = 0x82 // the only frame of a binary message
  let at = 2
  if (length < 126) {
    frame[1] = masked | length
  } else if (length < 65536) {
    frame[1] = masked | 126
    at = frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = masked | 127
    at = frame.writeUInt32BE(length % 2 ** 32, frame.writeUInt32BE(Math.floor(length / 2 ** 32), 2))
  }
  if (key !== undefined) frame.set(key, at)
}

/** Random bytes, drawn many keys at a time: a key must not be foreseeable by who chooses the payload. */
const pool = new Uint8Array(8192)
let spent = pool.byteLength

const randomKey = (): Uint8Array => {
  if (spent === pool.byteLength) {
    crypto.getRandomValues(pool)
    spent = 0
  }
  const key = pool.subarray(spent, spent + 4)
  spent += 4
  return key
}

/** Masks in place: byte i is combined with byte i mod 4 of the key. */
const mask = (bytes: Uint8Array, key: Uint8Array): void => {
  const { byteLength, byteOffset } = bytes
  const k0 = key[0]!, k1 = key[1]!, k2 = key[2]!, k3 = key[3]!
  let i = 0
  if (byteOffset % 4 === 0 && byteLength >= 64) {
    const words = new Uint32Array(bytes.buffer, byteOffset, byteLength >>> 2)
    const word = new Uint32Array(Uint8Array.of(k0, k1, k2, k3).buffer)[0]! // in the order of this machine's bytes
    const quads = words.length & ~3
    for (; i < quads; i += 4) {
      words[i]! ^= word
      words[i + 1]! ^= word
      words[i + 2]! ^= word
      words[i + 3]! ^= word
    }
    i *= 4
  }
  const k = [k0, k1, k2, k3]
  for (; i < byteLength; i++) bytes[i]! ^= k[i & 3]!
}
