import { type Share, smallWindow } from "../../SharedLimits.js"

/** The settings that limit the receive windows of a session. */
interface Limits {
  readonly maxSessionBufferSize: number
  readonly maxStreams: number
  readonly streamBufferSize: number
}

/**
 * The bytes that the receive windows of a session can make this process store. The session's own limit and its share of
 * the limit for all sessions bound them.
 *
 * A stream books its window before the peer learns of the window. When no more bytes can arrive, the stream gives back
 * all but the unread bytes.
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
   * Books the window of one more stream of the peer, and returns its size. Undefined when the session must refuse the
   * stream.
   *
   * Windows are full until half of the session's limit is booked. Further windows are equal parts of the other half, so
   * the windows of `maxStreams` streams always fit. When the limit for all sessions is used up, the window is small and
   * is booked beyond that limit. `maxStreams` bounds the sum of the small windows. The session does not refuse such a
   * stream, because a Go peer does not notice a refusal.
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

  /** Books the window of a stream that this end opens, even beyond the limits. */
  bookOwn(bytes: number): void {
    this.#given += bytes
    this.#share.force(bytes)
  }

  /** Books the bytes that the peer assumes beyond the window, within the limits. Returns the booked bytes. */
  bookSurplus(bytes: number): number {
    const booked = Math.max(0, Math.min(bytes, this.#limits.maxSessionBufferSize - this.#given))
    return this.#take(booked) ? booked : 0
  }

  /** Books the growth of a window, within the limit for all sessions only. */
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
