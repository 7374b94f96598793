/**
 * A queue of bytes in chunks, bounded by its owner's window.
 *
 * Chunks wait as they came, except views of a small part of their buffer, which are copied so that they do not keep all of
 * it alive; and except small ones that follow another, which are appended to a shared segment, so that a storm of one-byte
 * frames costs little more than its bytes. Whoever takes a chunk owns it.
 */
export class ByteQueue {
  #chunks: Array<Uint8Array> | undefined
  /** Older ones, the oldest last: an array that is long is slow to give up its first. */
  #older: Array<Uint8Array> | undefined
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
    const chunk = this.#older?.pop() ?? this.#newer()
    if (chunk === undefined) return undefined
    this.#size -= chunk.byteLength
    if (this.#size === 0) this.#tail = undefined
    return chunk
  }

  /** Takes everything at once. */
  takeAll(): Array<Uint8Array> {
    const chunks = this.#list
    const older = this.#older
    this.#chunks = undefined
    this.#older = undefined
    this.#size = 0
    this.#tail = undefined
    return older === undefined ? chunks : older.reverse().concat(chunks)
  }

  /** The oldest of those that are not `#older`. */
  #newer(): Uint8Array | undefined {
    const chunks = this.#chunks
    if (chunks === undefined || chunks.length < manyChunks) return chunks?.shift()
    this.#older = chunks.reverse()
    this.#chunks = undefined
    this.#tail = undefined
    return this.#older.pop()
  }

  /** Made when it is needed: most streams of a server that holds many are idle. */
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

  /** The first small chunk behind none or a large one waits by itself; each that follows unread gets a larger buffer to share. */
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

/** From so many on the first is not taken by moving all others. */
const manyChunks = 1024

/** How large a shared segment grows. */
const segmentSize = 16 * 1024
