/**
 * A queue of bytes in chunks, bounded by its owner's window.
 *
 * Chunks wait as they came, except views of a small part of their buffer, which are copied so that they do not keep all of
 * it alive; and except small ones that follow another, which are appended to a shared segment, so that a storm of one-byte
 * frames costs little more than its bytes. Whoever takes a chunk owns it.
 */
export class ByteQueue {
  /** Undefined while there are none: most streams of a server that holds many are idle. */
  #chunks: Array<Uint8Array> | undefined
  /** How many chunks at the front have been taken: an array that is long is slow to give up its first. */
  #taken = 0
  #size = 0
  /** The spare room behind the last chunk, where that one is a segment of ours. */
  #tail: Uint8Array | undefined

  get size(): number {
    return this.#size
  }

  push(chunk: Uint8Array): void {
    const length = chunk.byteLength
    if (length === 0) return
    this.#size += length
    if (length >= smallChunk) {
      this.#tail = undefined
      this.#list.push(compact(chunk))
    } else if (this.#tail !== undefined && this.#tail.byteLength >= length) {
      this.#append(chunk, this.#tail)
    } else {
      this.#startSegment(chunk)
    }
  }

  /** Takes the oldest chunk. */
  shift(): Uint8Array | undefined {
    const chunks = this.#chunks
    if (chunks === undefined) return undefined
    const chunk = chunks[this.#taken]!
    chunks[this.#taken++] = nothing
    this.#size -= chunk.byteLength
    if (this.#size === 0) {
      this.#clear()
    } else if (this.#taken >= worthMoving && this.#taken * 2 >= chunks.length) {
      chunks.splice(0, this.#taken)
      this.#taken = 0
    }
    return chunk
  }

  /** Takes everything at once. */
  takeAll(): Array<Uint8Array> {
    const chunks = this.#chunks?.slice(this.#taken) ?? []
    this.#clear()
    return chunks
  }

  #clear(): void {
    this.#chunks = undefined
    this.#taken = 0
    this.#size = 0
    this.#tail = undefined
  }

  get #list(): Array<Uint8Array> {
    return this.#chunks ??= []
  }

  #append(chunk: Uint8Array, room: Uint8Array): void {
    room.set(chunk)
    this.#tail = room.subarray(chunk.byteLength)
    const chunks = this.#list
    const last = chunks.length - 1
    const segment = chunks[last]!
    chunks[last] = new Uint8Array(segment.buffer, segment.byteOffset, segment.byteLength + chunk.byteLength)
  }

  /** A small chunk behind none, or behind a large one, waits by itself; each that follows unread shares a larger buffer. */
  #startSegment(chunk: Uint8Array): void {
    const chunks = this.#list
    const last = chunks[chunks.length - 1]
    if (last === undefined || (this.#tail === undefined && last.byteLength >= smallChunk)) {
      chunks.push(compact(chunk))
      return
    }
    const capacity = Math.min(segmentSize, (last.byteLength + chunk.byteLength) * 2)
    const segment = new Uint8Array(Math.max(capacity, chunk.byteLength))
    segment.set(chunk)
    chunks.push(segment.subarray(0, chunk.byteLength))
    this.#tail = segment.subarray(chunk.byteLength)
  }
}

/** A view that is less than half of its buffer is not worth what it would pin. */
const compact = (chunk: Uint8Array): Uint8Array =>
  chunk.byteLength * 2 < chunk.buffer.byteLength ? new Uint8Array(chunk) : chunk

/** Below this a chunk costs more as an object of its own than as a copy. */
const smallChunk = 1024

/** So many places of chunks that were taken are given up together, once they are half of all. */
const worthMoving = 16

/** Stands where a chunk was. */
const nothing = new Uint8Array(0)

/** How large a shared segment grows. */
const segmentSize = 16 * 1024
