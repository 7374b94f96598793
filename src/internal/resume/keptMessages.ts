/**
 * The messages that were sent and may have to be repeated, oldest first. Copies the bytes into blocks: a message costs
 * no allocation, and an end with nothing to repeat holds no block.
 */
export class KeptMessages {
  /** The bytes of all messages. */
  bytes = 0
  #blocks: Array<Uint8Array> = []
  /** Where the first message begins in the first block, and where the last one ends in the last block. */
  #start = 0
  #end = blockSize
  /** The bytes that the first block lacks at its beginning. */
  #cut = 0
  /** The sizes of the messages. Those before `#head` have been dropped. */
  #sizes: Array<number> = []
  #head = 0
  /** The last message, while its bytes are not copied. */
  #added: ReadonlyArray<Uint8Array> | undefined

  get count(): number {
    return this.#sizes.length - this.#head
  }

  /** Adds a message, whose parts belong to the caller again after `copy`. Returns its size. */
  add(parts: ReadonlyArray<Uint8Array>): number {
    this.copy()
    this.#added = parts
    const size = byteLength(parts)
    this.#sizes.push(size)
    this.bytes += size
    return size
  }

  /** Copies the message that was added last, unless another call has done so. */
  copy(): void {
    const parts = this.#added
    if (parts === undefined) return
    this.#added = undefined
    this.#write(parts)
  }

  /** Appends to the last message. Returns the number of bytes. */
  extend(parts: ReadonlyArray<Uint8Array>): number {
    this.copy()
    const size = byteLength(parts)
    this.#sizes[this.#sizes.length - 1]! += size
    this.bytes += size
    this.#write(parts)
    return size
  }

  /** Drops the oldest messages. Returns their bytes. */
  drop(count: number): number {
    this.copy()
    let dropped = 0
    for (let n = 0; n < count; n++) dropped += this.#sizes[this.#head++]!
    this.bytes -= dropped
    if (this.#head === this.#sizes.length) {
      this.clear()
      return dropped
    }
    if (this.#head >= minGap && this.#head * 2 >= this.#sizes.length) {
      this.#sizes.copyWithin(0, this.#head)
      this.#sizes.length -= this.#head
      this.#head = 0
    }
    this.#start += dropped
    const passed = Math.floor(this.#start / blockSize)
    for (const block of this.#blocks.splice(0, passed)) recycle(block)
    this.#start -= passed * blockSize
    if (passed > 0) this.#cut = 0
    return dropped
  }

  /** Drops all messages. */
  clear(): void {
    for (const block of this.#blocks) recycle(block)
    this.#added = undefined
    this.#blocks = []
    this.#sizes = []
    this.#head =
      this.#start =
      this.#cut =
      this.bytes =
        0
    this.#end = blockSize
  }

  /** Gives back the memory of a block that holds little, because the messages may have to wait for long. */
  shrink(): void {
    this.copy()
    const [block] = this.#blocks
    if (block === undefined || this.#blocks.length > 1 || this.bytes > blockSize / 2) return
    const at = this.#start - this.#cut
    this.#blocks[0] = block.slice(at, at + this.bytes)
    recycle(block)
    this.#cut = this.#start = blockSize - this.bytes
    this.#end = blockSize
  }

  /** The parts of each message. They are valid until the next change. */
  *[Symbol.iterator](): Generator<Array<Uint8Array>> {
    this.copy()
    let block = 0
    let cut = this.#cut
    let at = this.#start
    for (let n = this.#head; n < this.#sizes.length; n++) {
      const parts: Array<Uint8Array> = []
      for (let left = this.#sizes[n]!; left > 0;) {
        if (at === blockSize) {
          block++
          at = cut = 0
        }
        const part = this.#blocks[block]!.subarray(at - cut, Math.min(at + left, blockSize) - cut)
        parts.push(part)
        at += part.length
        left -= part.length
      }
      yield parts
    }
  }

  #write(parts: ReadonlyArray<Uint8Array>): void {
    for (const part of parts) {
      for (let at = 0; at < part.length;) {
        if (this.#end === blockSize) {
          this.#blocks.push(spare.pop() ?? new Uint8Array(blockSize))
          this.#end = 0
        }
        const length = Math.min(part.length - at, blockSize - this.#end)
        const block = this.#blocks[this.#blocks.length - 1]!
        block.set(at === 0 && length === part.length ? part : part.subarray(at, at + length), this.#end)
        this.#end += length
        at += length
      }
    }
  }
}

/** The same stands in `transport/concatBytes.ts`, which this room may not import. */
const byteLength = (parts: ReadonlyArray<Uint8Array>): number => {
  let length = 0
  for (const part of parts) length += part.byteLength
  return length
}

/** Small, so that a session with little to repeat holds little. */
const blockSize = 16 * 1024

/** Blocks of all sessions for use again. New memory would cost more than the copy. */
const spare: Array<Uint8Array> = []
const maxSpare = 64

const recycle = (block: Uint8Array): void => {
  if (block.length === blockSize && spare.length < maxSpare) spare.push(block)
}

/** Fewer dropped sizes than this are not worth a move. */
const minGap = 64

/** The bytes that an end keeps by default. */
export const defaultMaxKept = 4 * 1024 * 1024
