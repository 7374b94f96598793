import type { Share } from "../../../SharedLimits.js"
import { mask } from "./mask.js"
import { neededBytes, type Parser } from "./wsInternals.js"

/** Whose message has begun and not ended. */
type Unfinished = "ours" | "the parser's" | undefined

/** What a receiver gives a connection up for. */
export type Fault = "too big" | "too many fragments" | "interrupted" | "no room"

/**
 * In how many fragments a message may come, each of which costs work and may be empty. Where the parser of the package reads,
 * it keeps each as a view of what the socket had read with it, up to 64 KiB: many small ones, with pings between them, would
 * keep far more than the message is large. A Go client sends 4 KiB in each.
 */
export const maxFragments = (maxMessageSize: number): number => 64 + Math.ceil(maxMessageSize / 1024)

/**
 * Reads the binary messages of an established WebSocket (RFC 6455, 5.2) in the place of the parser of `ws`: that one keeps
 * views of what the socket has read and joins them, so the memory of each message is allocated twice, which sends the
 * collector round the whole heap again and again; and without bufferutil it unmasks byte by byte. Here a message is copied
 * once, to where it stays, and unmasked there by words, and what the socket has read is free again at once.
 *
 * What is no part of a binary message (text, control frames, whatever is malformed) is passed on to the parser in its place
 * between the frames, and it is the parser that emits the messages. So all else is as it was, but for what a binary message
 * may be refused for, which is told to `refuse`.
 */
export class FrameReader {
  readonly #parser: Parser
  readonly #pass: (bytes: Buffer) => boolean
  readonly #masked: boolean
  readonly #limit: number
  readonly #refuse: (fault: Fault) => void
  readonly #share: Share
  #refused = false
  /** Whether the parser has ended the message that it had begun when this receiver came. */
  #hasBegun = false
  /** The beginning of a header whose rest has not come. */
  #cut: Buffer | undefined
  /** Whose frame it is, and what has not come of it: of its payload if it is ours, of header and all if it is not. */
  #missing = 0
  #isOurs = false
  #isLast = false
  /** The message, as far as it has come, and where the frame begins in it. */
  #message: Buffer | undefined
  #filled = 0
  #start = 0
  #fragments = 0
  /** How many bytes of a message the parser has to keep. */
  #theirs = 0
  readonly #key = new Uint8Array(4)
  #unfinished: Unfinished

  /**
   * @param parser that of `ws`, which emits the messages; it may be in the middle of one, and then ends that one itself
   * @param masked whether this end is the server, to which everything comes masked
   * @param limit the largest message in bytes
   * @param refuse told once, and nothing is read from then on
   * @param share what unfinished messages take of the limit for all connections
   */
  constructor(parser: Parser, masked: boolean, limit: number, refuse: (fault: Fault) => void, share: Share) {
    this.#parser = parser
    this.#pass = parser.write.bind(parser)
    this.#masked = masked
    this.#limit = limit
    this.#refuse = refuse
    this.#share = share
  }

  /** Gives back what the message takes that has begun: the connection is over. */
  release(): void {
    this.#share.giveBack(this.#share.held)
    this.#share.leave()
  }

  /**
   * Takes up to so many frames of what the socket has read, and keeps none of that memory. Answers how many bytes these
   * were: all of them once nothing is read any more.
   */
  read(bytes: Buffer, frames = Infinity): number {
    const { length } = bytes
    let at = this.#hasBegun ? 0 : this.#letParserEnd(bytes, frames)
    if (!this.#hasBegun) return at
    const cut = this.#cut?.length ?? 0
    if (this.#cut !== undefined) {
      bytes = Buffer.concat([this.#cut, bytes])
      this.#cut = undefined
    }
    while (at < bytes.length) {
      if (this.#refused || !this.#parser.writable) return length
      if (this.#missing === 0) {
        if (frames-- <= 0) {
          this.#book()
          return at - cut
        }
        const size = headerSize(bytes, at)
        if (bytes.length - at < size) {
          this.#cut = Buffer.from(bytes.subarray(at))
          break
        }
        if (!this.#begin(bytes, at, size)) return length
        if (this.#isOurs) at += size
      }
      const end = Math.min(bytes.length, at + this.#missing)
      this.#missing -= end - at
      if (this.#isOurs) this.#take(bytes, at, end)
      else this.#passOn(bytes, at, end)
      at = end
    }
    this.#book()
    return length
  }

  /** Books what is kept of a message that has begun. Most reads end with a message, and book nothing. */
  #book(): void {
    const more = (this.#message?.length ?? 0) + this.#theirs - this.#share.held
    if (more < 0) this.#share.giveBack(-more)
    if (more > 0 && !this.#share.take(more)) this.#giveUp("no room")
  }

  #passOn(bytes: Buffer, from: number, to: number): void {
    if (this.#missing === 0 && this.#unfinished === undefined) this.#theirs = 0
    this.#pass(Buffer.from(bytes.subarray(from, to)))
  }

  /** Gives the parser no more than the rest of the message that it has begun. */
  #letParserEnd(bytes: Buffer, steps: number): number {
    let at = 0
    while (at < bytes.length) {
      if (this.#refused || !this.#parser.writable) return bytes.length
      const needed = neededBytes(this.#parser)
      if (needed === 0) break
      if (steps-- <= 0) return at
      const end = Math.min(bytes.length, at + needed)
      this.#pass(Buffer.from(bytes.subarray(at, end)))
      at = end
    }
    this.#hasBegun = neededBytes(this.#parser) === 0
    return at
  }

  /** Begins a frame; false when it is refused. */
  #begin(bytes: Buffer, at: number, size: number): boolean {
    const first = bytes[at]!
    const opcode = first & 0x0f
    const isLast = (first & 0x80) !== 0
    const isPlain = (first & 0x70) === 0 && (bytes[at + 1]! & 0x80) !== 0 === this.#masked
    const length = payloadLength(bytes, at)
    this.#isOurs = isPlain && opcode === next(this.#unfinished)
    if (this.#isOurs) {
      this.#missing = length
      this.#isLast = isLast
      this.#start = this.#filled
      if (this.#masked) { for (let i = 0; i < 4; i++) this.#key[i] = bytes[at + size - 4 + i]! }
      if (this.#start + length > this.#limit) this.#giveUp("too big")
    } else {
      this.#missing = size + length
      if (opcode < close) {
        if (this.#unfinished === "ours") this.#giveUp("interrupted")
        else this.#unfinished = isLast ? undefined : "the parser's"
        this.#theirs += Math.min(length, this.#limit)
      }
    }
    return !this.#refused
  }

  /** Takes some of the payload. */
  #take(bytes: Buffer, from: number, to: number): void {
    const end = this.#filled + to - from
    const message = this.#message !== undefined && this.#message.length >= end ? this.#message : this.#grow(end)
    bytes.copy(message, this.#filled, from, to)
    this.#filled = end
    if (this.#missing === 0) this.#finishFrame(message)
  }

  /** A peer may announce much and send little, so at most four times of what has come is kept for it. */
  #grow(needed: number): Buffer {
    const most = this.#isLast ? needed + this.#missing : this.#limit
    const size = Math.min(most, Math.max(needed * 4, leastRoom))
    // Whoever keeps a part of a buffer that others share has to copy it.
    const message = size < sharedBelow ? Buffer.allocUnsafe(size) : Buffer.allocUnsafeSlow(size)
    this.#message?.copy(message, 0, 0, this.#filled)
    return this.#message = message
  }

  #finishFrame(message: Buffer): void {
    if (this.#masked) mask(message, this.#start, this.#filled, this.#key)
    if (!this.#isLast) {
      this.#unfinished = "ours"
      if (++this.#fragments > maxFragments(this.#limit)) this.#giveUp("too many fragments")
      return
    }
    const whole = this.#filled === message.length ? message : message.subarray(0, this.#filled)
    this.#unfinished = undefined
    this.#message = undefined
    this.#filled = 0
    this.#fragments = 0
    this.#parser.emit("message", whole, true)
  }

  #giveUp(fault: Fault): void {
    this.#refused = true
    this.#message = undefined
    this.#share.giveBack(this.#share.held)
    this.#refuse(fault)
  }
}

const leastRoom = 1024

/** A buffer of its own costs more than to copy so few bytes once more. */
const sharedBelow = 512

/** Opcodes; all from `close` on are of control frames. */
const continuation = 0x0
const binary = 0x2
const close = 0x8

/** The opcode that a frame of ours has to have. */
const next = (unfinished: Unfinished): number | undefined =>
  unfinished === "ours" ? continuation : unfinished === undefined ? binary : undefined

/** How large the header is that begins at `at`; so far as is known, while not enough of it has come to tell. */
const headerSize = (bytes: Buffer, at: number): number => {
  const second = bytes[at + 1]
  if (second === undefined) return 2
  const length = second & 0x7f
  return (length < 126 ? 2 : length === 126 ? 4 : 10) + ((second & 0x80) === 0 ? 0 : 4)
}

const payloadLength = (bytes: Buffer, at: number): number => {
  const length = bytes[at + 1]! & 0x7f
  if (length < 126) return length
  if (length === 126) return bytes.readUInt16BE(at + 2)
  return bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6)
}
