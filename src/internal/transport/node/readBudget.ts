/**
 * Shares the time of the event loop among the sockets of a process.
 *
 * A read of 64 KiB may hold 10,000 frames, and the kernel has the next 64 KiB ready. So a socket handles a slice of each read
 * at once. The rest waits, and the socket stops reading until the rest is handled. The slices of the sockets that wait are
 * handled in turn, after what the loop has read, until the time of this turn of the loop is spent. Then the loop goes round:
 * a socket that asks for little is read and answered before the next slices.
 *
 * This is fairness within milliseconds, not back-pressure: every socket is read again in one of the next turns, whatever the
 * application does with its bytes. So a Go peer's pings are answered in time, and credit stays the only back-pressure.
 */
export class ReadBudget {
  readonly #clock: Clock
  /** When this turn of the event loop began to handle more than slices of what it has read. */
  #began: number | undefined
  #isScheduled = false
  #frames: number = mostFrames
  /** The sockets with a rest, first come first served. */
  readonly #waiting: Array<() => boolean> = []

  constructor(clock: Clock = node) {
    this.#clock = clock
  }

  /** Whether the time of this turn is spent; the first question of a turn starts its time. */
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

  /** Handles one slice. The time counts what fibers did about it, too, so it is taken after their microtasks. */
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
    } finally { // a listener that throws holds nobody else up
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

/** What a budget needs of the event loop. */
export interface Clock {
  readonly now: () => number
  /** Calls back once when all sockets that are ready have been read, in the same turn or in the next one. */
  readonly afterReads: (callback: () => void) => void
  /** Calls back when the microtasks of this step have run, in the same turn. */
  readonly afterMicrotasks: (callback: () => void) => void
}

const resolved = Promise.resolve()

const node: Clock = {
  now: () => performance.now(),
  afterReads: (callback) => void setImmediate(callback),
  afterMicrotasks: (callback) => void resolved.then(() => process.nextTick(callback))
}

/**
 * The milliseconds of a turn. A turn of the loop itself costs some 20 µs, so a shorter time would cost throughput, and a longer
 * one lets everybody else wait.
 */
export const millisPerTurn = 5

/**
 * How many frames a slice may have, and from how many milliseconds on it gets fewer: a frame may cost a microsecond or, where it
 * opens a stream in a process that has just started, a thousand. The package `ws` hangs up on a peer to which 60 pongs are due
 * at once, so a slice of pings must be smaller than that.
 */
export const [leastFrames, mostFrames, slowSlice] = [4, 48, 2]

/** A read of at least so many bytes is most likely followed by another in the same turn, so it asks for the time. */
export const largeRead = 16 * 1024

/** That of the process. */
const shared = new ReadBudget()

/** Reads one socket slice by slice. */
export class SlicedReader {
  readonly #read: (bytes: Buffer, frames: number) => number
  readonly #resume: () => void
  readonly #budget: ReadBudget
  /** What the socket has read and nobody has handled. While it is there, even if empty, the socket is paused. */
  #rest: Buffer | undefined
  #isOver = false
  #isDropped = false

  /**
   * @param read handles so many frames at most, and answers how many bytes these were
   * @param resume lets the socket read again
   */
  constructor(read: (bytes: Buffer, frames: number) => number, resume: () => void, budget: ReadBudget = shared) {
    this.#read = read
    this.#resume = resume
    this.#budget = budget
  }

  /** Takes what the socket has read, and keeps none of that memory. False when the socket shall stop until it is resumed. */
  take(bytes: Buffer): boolean {
    if (this.#isDropped) return true
    if (this.#isOver) {
      this.#read(bytes, Infinity)
      return true
    }
    if (this.#rest !== undefined) {
      this.#rest = Buffer.concat([this.#rest, bytes]) // some turn more was under way
      return false
    }
    const taken = this.#read(bytes, this.#budget.frames)
    if (taken === bytes.length && (taken < largeRead || !this.#budget.isSpent)) return true
    this.#rest = Buffer.from(bytes.subarray(taken))
    this.#budget.enqueue(this.#slice)
    return false
  }

  /** Handles all that waits, since the peer has ended the connection: what has come before its end counts. */
  finish(): void {
    if (this.#isDropped) return
    this.#isOver = true
    const rest = this.#rest
    this.#rest = undefined
    if (rest !== undefined) this.#read(rest, Infinity)
  }

  /** Drops all that waits and may come, since this end has ended the connection, if the peer has not. */
  drop(): void {
    this.#isDropped = !this.#isOver
    if (this.#isDropped) this.#rest = undefined
  }

  readonly #slice = (): boolean => {
    const rest = this.#rest
    if (rest === undefined) return false
    this.#rest = rest.subarray(rest.length)
    const taken = this.#read(rest, this.#budget.frames)
    if (this.#isOver || this.#isDropped) { // by what a frame has brought about
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
