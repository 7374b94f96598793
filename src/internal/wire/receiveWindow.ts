/**
 * What we let the peer send on one stream.
 *
 * `granted` is the credit that the peer still holds, `buffered` what it has sent and nobody has read. Their sum is all
 * that this stream can ever make us store. The window steers it towards `size`: credit is returned as bytes are read, in
 * halves of the window, so that one `Ack` serves many reads, but of a large window earlier, since the other half alone
 * would have to fill the round trip; a peer that believes in more than `size` gets none back until the surplus is used
 * up.
 *
 * Liveness: when everything is read, the peer holds more than half a window or is granted the rest.
 */
export class ReceiveWindow {
  #size: number
  #granted: number
  #buffered = 0

  /** @param granted the credit that the peer believes to have from the start */
  constructor(size: number, granted: number) {
    this.#size = size
    this.#granted = granted
  }

  get size(): number {
    return this.#size
  }

  get granted(): number {
    return this.#granted
  }

  get buffered(): number {
    return this.#buffered
  }

  /** Books an arrival and answers how many of its bytes fit; fewer than arrived means that the peer overran us. */
  receive(bytes: number): number {
    const fit = Math.min(bytes, this.#granted)
    this.#granted -= fit
    this.#buffered += fit
    return fit
  }

  /** Books bytes as read and answers the credit to return now, 0 for none yet. */
  consume(bytes: number): number {
    this.#buffered -= bytes
    const missing = this.#missing()
    return missing >= Math.min(this.#size / 2, promptly) ? this.#grant(missing) : 0
  }

  /** The credit that brings a peer with less than `size` up to it at once, 0 when it has enough. */
  topUp(): number {
    return this.#grant(Math.max(0, this.#missing()))
  }

  /** Makes it larger, and answers the credit that the peer gains by that. */
  grow(bytes: number): number {
    this.#size += bytes
    return this.#grant(bytes)
  }

  #missing(): number {
    return this.#size - this.#buffered - this.#granted
  }

  #grant(bytes: number): number {
    this.#granted += bytes
    return bytes
  }
}

/** So many bytes are worth an `Ack`, however large the window is. */
const promptly = 256 * 1024
