import { type Share, smallWindow } from "../../SharedLimits.js"

/** The limits that the receive windows of a session obey. */
interface Limits {
  readonly maxSessionBufferSize: number
  readonly maxStreams: number
  readonly streamBufferSize: number
}

/**
 * The bytes that the receive windows of a session can make this process store, within the session's own limit and the
 * session's share of the limit for all sessions.
 *
 * A stream books its window before the peer learns of it. When nothing more can arrive, the stream gives back all but
 * the bytes that are unread.
 */
export class ReceiveMemory {
  readonly #limits: Limits
  readonly #share: Share
  #given = 0

  constructor(limits: Limits, share: Share) {
    this.#limits = limits
    this.#share = share
  }

  /**
   * Books the window of one more stream of the peer, and returns its size; undefined when the stream must be refused.
   *
   * Windows are whole until half of the session's limit is given, then equal parts of the other half. So the windows of
   * `maxStreams` streams always fit. Where the sessions together have nothing left, the window is small, and booked all
   * the same: a Go peer learns nothing of a refusal, and the limit of streams bounds what small windows add.
   */
  bookWindow(): number | undefined {
    const { maxSessionBufferSize, maxStreams, streamBufferSize } = this.#limits
    const half = maxSessionBufferSize / 2
    const window = this.#given + streamBufferSize <= half
      ? streamBufferSize
      : Math.min(streamBufferSize, Math.max(1, Math.floor(half / maxStreams)))
    if (this.#take(window)) return window
    const small = Math.min(window, smallWindow)
    if (this.#given + small > maxSessionBufferSize) return undefined
    this.bookOwn(small)
    return small
  }

  /** Books the window of a stream that this end opens: the program has asked for it. */
  bookOwn(bytes: number): void {
    this.#given += bytes
    this.#share.force(bytes)
  }

  /** Books as much as the limits allow of what a peer believes to have beyond the window, and returns how much. */
  bookSurplus(bytes: number): number {
    const booked = Math.max(0, Math.min(bytes, this.#limits.maxSessionBufferSize - this.#given))
    return this.#take(booked) ? booked : 0
  }

  /** Books the growth of a window, which the session's limit does not count. */
  bookGrowth(bytes: number): boolean {
    return this.#share.take(bytes)
  }

  giveBack(window: number, growth: number): void {
    this.#given -= window
    this.#share.giveBack(window + growth)
  }

  #take(bytes: number): boolean {
    if (this.#given + bytes > this.#limits.maxSessionBufferSize || !this.#share.take(bytes)) return false
    this.#given += bytes
    return true
  }
}
