import { ownCopy } from "./ownCopy.js"

/**
 * Shares the time of the event loop among the sockets of a process.
 *
 * A read of 64 KiB may hold 10,000 frames, and the kernel has the next 64 KiB ready. A socket handles one slice of
 * each read at once. The rest waits, and the socket stops reading until the rest is handled. The waiting sockets
 * handle their slices in turn, after the reads of the event loop, until the time of this turn of the loop is spent. A
 * socket with few bytes is therefore read and answered before the next slices.
 *
 * Sockets share the time within milliseconds, without back-pressure: each is read again in one of the next turns,
 * even when the application reads no stream. A Go peer's pings are answered in time, and credit stays the only
 * back-pressure.
 */
export class ReadBudget {
  readonly #clock: Clock
  /** When this turn of the event loop began to handle more than slices of what it has read. */
  #began: number | undefined
  #isScheduled = false
  #frames: number = mostFrames
  /** The slices of the sockets with a rest, first come first served. */
  readonly #waiting: Array<() => boolean> = []

  constructor(clock: Clock = node) {
    this.#clock = clock
  }

  /** Whether the time of this turn is spent. The first call in a turn starts its time. */
  get isSpent(): boolean {
    const now = this.#clock.now()
    this.#began ??= now
    this.#schedule()
    return now - this.#began >= millisPerTurn
  }

  /** How many frames a slice may have now. */
  get frames(): number {
    return this.#frames
  }

  /** Calls `slice` in this turn or a later one, again and again while it answers true. */
  enqueue(slice: () => boolean): void {
    this.#waiting.push(slice)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#clock.afterReads(this.#turn)
  }

  readonly #turn = (): void => {
    this.#isScheduled = false
    this.#began ??= this.#clock.now()
    this.#next()
  }

  /** Handles one slice. Its time includes the microtasks of the fibers that it woke. */
  readonly #next = (): void => {
    const slice = this.#waiting.shift()
    if (slice === undefined) {
      this.#began = undefined
      return
    }
    const began = this.#clock.now()
    let isUnfinished = false
    try {
      isUnfinished = slice()
    } finally { // the other sockets go on where a listener throws
      if (isUnfinished) this.#waiting.push(slice)
      this.#clock.afterMicrotasks(() => this.#goOn(began))
    }
  }

  #goOn(sliceBegan: number): void {
    const now = this.#clock.now()
    const took = now - sliceBegan
    if (took > slowSlice) this.#frames = Math.max(leastFrames, this.#frames >> 1)
    else if (took < slowSlice / 2) this.#frames = Math.min(mostFrames, this.#frames * 2)
    if (this.#waiting.length > 0 && now - (this.#began ?? now) < millisPerTurn) return this.#next()
    this.#began = undefined
    if (this.#waiting.length > 0) this.#schedule()
  }
}

/** The functions of the event loop that a budget uses. */
export interface Clock {
  readonly now: () => number
  /** Calls back once, when all ready sockets have been read in this turn or the next. */
  readonly afterReads: (callback: () => void) => void
  /** Calls back in the same turn, when the microtasks of this step have run. */
  readonly afterMicrotasks: (callback: () => void) => void
}

const resolved = Promise.resolve()

const node: Clock = {
  now: () => performance.now(),
  afterReads: (callback) => void setImmediate(callback),
  afterMicrotasks: (callback) => void resolved.then(() => process.nextTick(callback))
}

/**
 * The milliseconds of a turn. A turn of the loop itself costs some 20 µs, so a shorter time would cost throughput. A
 * longer time would delay the other sockets.
 */
export const millisPerTurn = 5

/**
 * The fewest and most frames of a slice, and the milliseconds from which on slices get smaller. A frame costs a
 * microsecond, or a thousand where it opens a stream in a new process. The package `ws` ends a connection with 60
 * unsent pongs, so a slice holds fewer pings than that.
 */
export const [leastFrames, mostFrames, slowSlice] = [4, 48, 2]

/** A read from this size on is most likely followed by another in the same turn, so the reader checks the time. */
export const largeRead = 16 * 1024

/** The budget of the process. */
const shared = new ReadBudget()

/** Reads one socket slice by slice. */
export class SlicedReader {
  readonly #read: (bytes: Buffer, frames: number) => number
  readonly #resume: () => void
  readonly #budget: ReadBudget
  /** The bytes that were read and not handled. The socket is paused while they are set, even if empty. */
  #rest: Buffer | undefined
  #isOver = false
  #isDropped = false

  /**
   * @param read handles up to `frames` frames, and returns how many bytes these were
   * @param resume lets the socket read again
   */
  constructor(read: (bytes: Buffer, frames: number) => number, resume: () => void, budget: ReadBudget = shared) {
    this.#read = read
    this.#resume = resume
    this.#budget = budget
  }

  /** Handles the bytes of a read, and keeps no reference to them. Returns false when the socket has to pause. */
  take(bytes: Buffer): boolean {
    if (this.#isDropped) return true
    if (this.#isOver) {
      this.#read(bytes, Infinity)
      return true
    }
    if (this.#rest !== undefined) {
      this.#rest = ownCopy(this.#rest, bytes) // another read was under way
      return false
    }
    const taken = this.#read(bytes, this.#budget.frames)
    if (taken === bytes.length && (taken < largeRead || !this.#budget.isSpent)) return true
    this.#rest = ownCopy(bytes.subarray(taken))
    this.#budget.enqueue(this.#slice)
    return false
  }

  /** Handles the rest, since the peer has ended the connection: frames before the end count. */
  finish(): void {
    if (this.#isDropped) return
    this.#isOver = true
    const rest = this.#rest
    this.#rest = undefined
    if (rest !== undefined) this.#read(rest, Infinity)
  }

  /** Drops the rest and later bytes, since this end has ended the connection. Does nothing once the peer has. */
  drop(): void {
    this.#isDropped = !this.#isOver
    if (this.#isDropped) this.#rest = undefined
  }

  readonly #slice = (): boolean => {
    const rest = this.#rest
    if (rest === undefined) return false
    this.#rest = rest.subarray(rest.length)
    const taken = this.#read(rest, this.#budget.frames)
    if (this.#isOver || this.#isDropped) { // a frame has ended the connection
      if (this.#isOver) this.#read(rest.subarray(taken), Infinity)
      return false
    }
    if (taken < rest.length) {
      this.#rest = rest.subarray(taken)
      return true
    }
    this.#rest = undefined
    this.#resume()
    return false
  }
}
