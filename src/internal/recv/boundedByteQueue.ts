/**
 * A queue of bytes in chunks, bounded by its owner's window.
 *
 * Chunks wait as they came, except views of much larger buffers, which are copied so that they do not keep all of these
 * alive; and except small ones that follow another, which are appended to a shared segment, so that a storm of one-byte
 * frames costs little more than its bytes. So the buffers of a queue hold at most a quarter more than its bytes, and a small
 * segment. The taker of a chunk owns the chunk.
 */
export class BoundedByteQueue {
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
      this.#endSegment()
      this.#list.push(compact(chunk))
      return
    }
    const room = Math.min(this.#tail?.byteLength ?? 0, length)
    if (room > 0) this.#append(chunk.subarray(0, room), this.#tail!)
    if (room < length) this.#startSegment(chunk.subarray(room))
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

  /** Gives up the spare room behind the last chunk: no small chunk will be appended any more. */
  #endSegment(): void {
    if (this.#tail === undefined) return
    this.#tail = undefined
    const chunks = this.#list
    const last = chunks.length - 1
    chunks[last] = compact(chunks[last]!)
  }

  /** A small chunk behind none, or behind a large one, waits by itself; each that follows unread shares a larger buffer. */
  #startSegment(chunk: Uint8Array): void {
    const chunks = this.#list
    const last = chunks[chunks.length - 1]
    if (last === undefined || (this.#tail === undefined && last.byteLength >= smallChunk)) {
      chunks.push(compact(chunk))
      return
    }
    // The segments before it are full, so only the spare room of this one is no bytes of the queue.
    const spare = Math.min(segmentSize, Math.max(leastSpare, Math.floor(this.#size / 4)))
    const segment = new Uint8Array(chunk.byteLength + spare)
    segment.set(chunk)
    chunks.push(segment.subarray(0, chunk.byteLength))
    this.#tail = segment.subarray(chunk.byteLength)
  }
}

/** A view that would pin a quarter more than its bytes is copied: a message in fragments lies in up to four times its size. */
const compact = (chunk: Uint8Array): Uint8Array =>
  chunk.byteLength * 1.25 < chunk.buffer.byteLength ? new Uint8Array(chunk) : chunk

/** Below this a chunk costs more as an object of its own than as a copy. */
const smallChunk = 1024

/** So many places of chunks that were taken are given up together, once they are half of all. */
const worthMoving = 16

/** Stands where a chunk was. */
const nothing = new Uint8Array(0)

/** The most and the least room that a shared segment has for chunks to come. */
const segmentSize = 16 * 1024
const leastSpare = 64
