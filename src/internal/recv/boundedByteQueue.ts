/**
 * The unread bytes of one stream: a queue of chunks, bounded in bytes by the stream's receive window.
 *
 * The bound:
 *
 * - `capacity` is the window, and `size` counts the unread bytes.
 * - `granted` is the credit that the peer still holds. Together with `size` it is all that the stream can make us
 *   store.
 * - The credit of bytes that were taken returns in halves of the window, so that one ACK serves many reads. A large
 *   window returns credit earlier, because its other half alone would have to fill the round trip.
 * - A peer that starts with more credit than `capacity` gets none back until the surplus is used up.
 * - Liveness: when all bytes are taken, the peer holds more than half a window, or `returnCredit` grants the rest.
 *
 * The bytes:
 *
 * - A large chunk is stored without a copy, except a view of a much larger buffer, which would stay alive.
 * - A small chunk behind another is appended to a shared segment, so a storm of one-byte frames costs little more than
 *   its bytes. All buffers together exceed the unread bytes by at most a quarter and a small segment.
 * - The taker of a chunk owns the chunk.
 */
export class BoundedByteQueue {
  #capacity = 0
  #granted = 0
  #size = 0
  /** Undefined while the queue is empty, because most streams of a server with many streams are idle. */
  #chunks: Array<Uint8Array> | undefined
  /** How many chunks at the front have been taken. Moving a long array at each take would be slow. */
  #taken = 0
  /** The spare room behind the last chunk, where that chunk is a shared segment. */
  #tail: Uint8Array | undefined

  /** The receive window in bytes: 0 until the queue is opened. */
  get capacity(): number {
    return this.#capacity
  }

  /** The credit that the peer still holds, in bytes. */
  get granted(): number {
    return this.#granted
  }

  /** The unread bytes. */
  get size(): number {
    return this.#size
  }

  /** The number of unread chunks. */
  get count(): number {
    return (this.#chunks?.length ?? 0) - this.#taken
  }

  /**
   * Sets the capacity, and the credit that the peer starts with. Returns the credit that brings a peer with less than
   * `capacity` up to it, which is granted now.
   */
  open(capacity: number, granted: number): number {
    this.#capacity = capacity
    this.#granted = granted
    return this.#grant(Math.max(0, this.#missing))
  }

  /**
   * Adds the bytes that fit, and returns their number. Fewer bytes than offered mean that the peer exceeded its credit.
   */
  offer(chunk: Uint8Array): number {
    const length = chunk.byteLength
    const fit = Math.min(length, this.#granted)
    if (fit === 0) return 0
    this.#granted -= fit
    this.#size += fit
    const bytes = fit === length ? chunk : chunk.subarray(0, fit)
    if (fit >= smallChunk) this.#pushLarge(bytes)
    else this.#pushSmall(bytes)
    return fit
  }

  /** Uses up credit for bytes that are thrown away on arrival, and returns how many bytes the credit covered. */
  discard(bytes: number): number {
    const fit = Math.min(bytes, this.#granted)
    this.#granted -= fit
    return fit
  }

  /** Takes the oldest chunk; undefined when the queue is empty. */
  take(): Uint8Array | undefined {
    const chunks = this.#chunks
    if (chunks === undefined) return undefined
    const chunk = chunks[this.#taken]!
    chunks[this.#taken++] = emptyChunk
    this.#size -= chunk.byteLength
    if (this.#size === 0) {
      this.#reset()
    } else if (this.#taken >= minMoved && this.#taken * 2 >= chunks.length) {
      chunks.splice(0, this.#taken)
      this.#taken = 0
    }
    return chunk
  }

  /** Takes all chunks, oldest first. */
  takeAll(): Array<Uint8Array> {
    const chunks = this.#chunks?.slice(this.#taken) ?? []
    this.#reset()
    return chunks
  }

  /** Grants the credit of the bytes that were taken, and returns it: 0 while that is too little to be worth an ACK. */
  returnCredit(): number {
    const missing = this.#missing
    return missing >= Math.min(this.#capacity / 2, promptCredit) ? this.#grant(missing) : 0
  }

  /** Enlarges the capacity, and returns the credit that the peer gains, which is granted now. */
  grow(bytes: number): number {
    this.#capacity += bytes
    return this.#grant(bytes)
  }

  /** The credit that would make up a whole window; negative while the peer holds a surplus. */
  get #missing(): number {
    return this.#capacity - this.#size - this.#granted
  }

  #grant(bytes: number): number {
    this.#granted += bytes
    return bytes
  }

  #reset(): void {
    this.#chunks = undefined
    this.#taken = 0
    this.#size = 0
    this.#tail = undefined
  }

  #pushLarge(chunk: Uint8Array): void {
    if (this.#tail !== undefined) this.#endSegment()
    this.#list.push(compact(chunk))
  }

  #pushSmall(chunk: Uint8Array): void {
    const length = chunk.byteLength
    const room = Math.min(this.#tail?.byteLength ?? 0, length)
    if (room > 0) this.#append(chunk.subarray(0, room), this.#tail!)
    if (room < length) this.#startSegment(chunk.subarray(room))
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

  /** Gives up the spare room behind the last chunk, to which no more bytes can be appended. */
  #endSegment(): void {
    if (this.#tail === undefined) return
    this.#tail = undefined
    const chunks = this.#list
    const last = chunks.length - 1
    chunks[last] = compact(chunks[last]!)
  }

  /** Stores a small chunk alone when it is the first or follows a large one. Any other opens a segment for more. */
  #startSegment(chunk: Uint8Array): void {
    const chunks = this.#list
    const last = chunks[chunks.length - 1]
    if (last === undefined || (this.#tail === undefined && last.byteLength >= smallChunk)) {
      chunks.push(compact(chunk))
      return
    }
    // The segments before this one are full, so the spare room of this one is all that the queue holds beyond its
    // bytes.
    const spare = Math.min(maxSpare, Math.max(minSpare, Math.floor(this.#size / 4)))
    const segment = new Uint8Array(chunk.byteLength + spare)
    segment.set(chunk)
    chunks.push(segment.subarray(0, chunk.byteLength))
    this.#tail = segment.subarray(chunk.byteLength)
  }
}

/**
 * Copies a view whose buffer exceeds it by more than a quarter: a fragmented message lies in up to four times its size.
 */
const compact = (chunk: Uint8Array): Uint8Array =>
  chunk.byteLength * 1.25 < chunk.buffer.byteLength ? new Uint8Array(chunk) : chunk

/** This many bytes of credit are worth an ACK, even if the window is much larger. */
const promptCredit = 256 * 1024

/** Below this size an array of its own costs more than copying the bytes. */
const smallChunk = 1024

/** The places of taken chunks are removed together: at least this many, and at least half of the array. */
const minMoved = 16

/** Replaces a chunk that was taken. */
const emptyChunk = new Uint8Array(0)

/** Bounds of the spare room that a shared segment starts with. */
const maxSpare = 16 * 1024
const minSpare = 64
