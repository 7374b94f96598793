import { Duplex } from "node:stream"
import type { Link } from "./sockets.js"

/** The most bytes that wait in each direction. */
const limit = 1 << 20

interface Options {
  /** Whether messages of one write leave in one system call. */
  readonly cork: boolean
  /** Whether a write completes while few bytes are unsent, instead of when the kernel has taken them. */
  readonly eager: boolean
}

/**
 * A WebSocket as a byte stream for multiplexers over a byte stream, like `createWebSocketStream` of ws, with options
 * that make some multiplexers faster.
 */
export class Carrier extends Duplex {
  readonly #link: Link
  readonly #options: Options

  constructor(link: Link, options: Options) {
    super({ readableHighWaterMark: limit, writableHighWaterMark: limit })
    this.#link = link
    this.#options = options
    link.ws.on("message", (data: Buffer) => {
      if (!this.push(data)) link.ws.pause()
    })
    link.ws.once("close", () => this.push(null))
  }

  override _read(): void {
    if (this.#link.ws.isPaused) this.#link.ws.resume()
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this._writev([{ chunk }], done)
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, done: () => void): void {
    const { socket, ws } = this.#link
    const last = chunks.length - 1
    const now = this.#options.eager && ws.bufferedAmount < limit
    if (this.#options.cork) socket.cork()
    chunks.forEach(({ chunk }, i) => ws.send(chunk, i === last && !now ? done : undefined))
    if (this.#options.cork) socket.uncork()
    if (now) done()
  }
}
