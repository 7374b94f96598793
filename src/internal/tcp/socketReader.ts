import type * as Net from "node:net"
import { readIntoSharedBuffer, sharedSize } from "./sharedReadBuffer.js"

/**
 * The bytes from sockets that may wait in this process for slow receivers. Near this limit each read takes fewer bytes,
 * down to `minReadSize`. All sockets together hold 16 MiB, plus 4 KiB for each further socket.
 */
export const budget = 16 * 1024 * 1024

const minReadSize = 4 * 1024

let held = 0

/** Returns the bytes that wait in this process. */
export const heldBytes = (): number => held

/** Returns the bytes that the next read may take while `held` bytes wait. */
export const readSize = (held: number): number => {
  const share = Math.min(Math.floor((budget - held) / 64), sharedSize)
  return Math.max(share, minReadSize)
}

const nextReadSize = () => readSize(held)

/**
 * Reads a socket of `node:net` on demand, into memory that all sockets share.
 *
 * Bytes that the consumer takes on arrival are never copied. Other bytes are copied to their true size, and the socket
 * stops reading until they are taken and the next ones are asked for. So a socket holds one read, and a silent socket
 * holds none. By default Node holds two buffers of 64 KiB for a socket, even if they carry few bytes.
 */
export class SocketReader {
  readonly #socket: Net.Socket
  /** The bytes that were read and not taken. */
  #next: Uint8Array | undefined
  /** The bytes of this socket in `held`: those not taken, or those that were taken last. */
  #counted = 0
  #isStopped = false
  #isReleased = false
  #consume: ((bytes: Uint8Array) => boolean) | undefined
  readonly #onBytes: () => void

  private constructor(socket: Net.Socket, onBytes: () => void) {
    this.#socket = socket
    this.#onBytes = onBytes
  }

  /**
   * Takes over the reads of a socket. Returns undefined, and changes nothing, where the socket cannot be read so.
   *
   * @param onBytes called when there are bytes to take
   */
  static attach(socket: Net.Socket, onBytes: () => void): SocketReader | undefined {
    const reader = new SocketReader(socket, onBytes)
    return readIntoSharedBuffer(socket, (bytes) => reader.#read(bytes), nextReadSize) ? reader : undefined
  }

  /**
   * Sets the consumer that is offered bytes on arrival. It returns true when it has used them, and keeps no reference.
   */
  onArrival(consume: (bytes: Uint8Array) => boolean): void {
    this.#consume = consume
  }

  /** Takes the bytes that were read. Without any, it lets the socket read: the bytes taken before are done with. */
  take(): Uint8Array | undefined {
    const bytes = this.#next
    this.#next = undefined
    this.#count(bytes?.byteLength ?? 0)
    if (bytes === undefined && this.#isStopped) {
      this.#isStopped = false
      this.#socket.resume()
    }
    return bytes
  }

  /** Bytes count no more: the owner has left, although a write of them may go on for a while. */
  release(): void {
    this.#count(0)
    this.#isReleased = true
  }

  #read(bytes: Uint8Array): boolean {
    if (this.#consume?.(bytes) === true) return true
    this.#next = Uint8Array.prototype.slice.call(bytes) // a Buffer's own `slice` is a view
    this.#isStopped = true
    this.#count(bytes.byteLength)
    this.#onBytes()
    return false
  }

  #count(bytes: number): void {
    if (this.#isReleased) return
    held += bytes - this.#counted
    this.#counted = bytes
  }
}
