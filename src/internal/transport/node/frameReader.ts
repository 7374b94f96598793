import type { Share } from "../../../SharedLimits.js"
import type { ListenerBuffer } from "../listenerBuffer.js"
import { binary, close, continuation, headerSizeAt, payloadLengthAt } from "./frameHeader.js"
import { mask } from "./mask.js"
import { ownCopy } from "./ownCopy.js"
import { neededBytes, type Parser } from "./wsInternals.js"

/** Which reader has begun a message and not ended it: this one, or the parser of `ws`. */
type Unfinished = "direct" | "passed" | undefined

/**
 * What the next bytes are:
 *
 * - `Begun`: the rest of a message that the parser of `ws` had begun when the reader replaced it
 * - `Header`: a header, or the rest of one
 * - `Direct`: payload of a frame that this reader reads itself
 * - `Passed`: a whole frame for the parser of `ws`, or the payload of a frame of which the parser has the header
 * - `Refused`: ignored, because a message was refused
 */
type State = "Begun" | "Header" | "Direct" | "Passed" | "Refused"

/** Why a reader refuses a message, and with it the connection. */
export type Fault = "too big" | "too many fragments" | "interrupted" | "no room"

/**
 * Returns how many fragments a message may have. Each fragment costs work and may be empty. The parser of `ws` keeps
 * each as a view of the read buffer, up to 64 KiB, so that many small ones with pings between them would hold far
 * more memory than their bytes. A Go client sends 4 KiB in each fragment.
 */
export const maxFragments = (maxMessageSize: number): number => 64 + Math.ceil(maxMessageSize / 1024)

/** The settings of a `FrameReader`. */
export interface ReaderSettings {
  /** Whether this end is the server, whose peer masks every frame. */
  readonly masked: boolean
  /** The largest message in bytes. */
  readonly limit: number
  /** Receives the binary messages. */
  readonly listeners: Pick<ListenerBuffer, "receiver">
  /** Called once for a refused message. The reader ignores all bytes from then on. */
  readonly refuse: (fault: Fault) => void
  /** The part of the limit for all connections that unfinished messages of this connection take. */
  readonly share: Share
}

/**
 * Reads the binary messages of an established WebSocket (RFC 6455, 5.2) in the place of the parser of `ws`.
 *
 * That parser keeps views of the read buffer and joins them, so that each message is allocated twice and the
 * collector walks the whole heap more often. Without bufferutil it unmasks byte by byte. This reader copies a message
 * once, to its final place, and unmasks it there by words. The read buffer is free again when `read` returns.
 *
 * Text messages, control frames and malformed frames are passed on to the parser, in their place between the binary
 * messages. The listener receives binary messages directly: the WebSocket emits no event for them.
 */
export class FrameReader {
  readonly #parser: Parser
  readonly #pass: (bytes: Buffer) => boolean
  readonly #masked: boolean
  readonly #limit: number
  readonly #listeners: Pick<ListenerBuffer, "receiver">
  readonly #refuse: (fault: Fault) => void
  readonly #share: Share
  #state: State = "Begun"
  /** The beginning of a header whose rest has not arrived. */
  #partialHeader: Buffer | undefined
  /** The bytes of the frame that have not arrived: of the payload of a direct frame, of all of a passed one. */
  #missing = 0
  #isLast = false
  /** The message so far, its length, and the place where its last frame begins. */
  #message: Buffer | undefined
  #filled = 0
  #frameStart = 0
  #fragments = 0
  /** The bytes of an unfinished message that is passed on: those that the parser holds, and the part below. */
  #passedBytes = 0
  /** What the parser needs for its next step, as far as that has arrived, and its size. */
  #part: Buffer | undefined
  #partSize = 0
  readonly #key = new Uint8Array(4)
  #unfinished: Unfinished

  /** @param parser may have begun a message, which it then also ends */
  constructor(parser: Parser, { limit, listeners, masked, refuse, share }: ReaderSettings) {
    this.#parser = parser
    this.#pass = parser.write.bind(parser)
    this.#masked = masked
    this.#limit = limit
    this.#listeners = listeners
    this.#refuse = refuse
    this.#share = share
  }

  /** Gives back the share of an unfinished message: the connection has ended. */
  release(): void {
    this.#share.giveBack(this.#share.held)
    this.#share.leave()
  }

  /**
   * Reads up to `frames` frames, and keeps no reference to `bytes`. Returns how many bytes were read: all of them
   * once a message was refused.
   */
  read(bytes: Buffer, frames = Infinity): number {
    const { length } = bytes
    let at = this.#state === "Begun" ? this.#letParserEnd(bytes, frames) : 0
    if (this.#is("Begun")) return at
    const before = this.#partialHeader?.length ?? 0
    if (this.#partialHeader !== undefined) {
      bytes = Buffer.concat([this.#partialHeader, bytes])
      this.#partialHeader = undefined
    }
    while (at < bytes.length) {
      if (this.#is("Refused") || !this.#parser.writable) return length
      if (this.#is("Header")) {
        if (frames-- <= 0) {
          this.#book()
          return at - before
        }
        const size = headerSizeAt(bytes, at)
        if (bytes.length - at < size) {
          this.#partialHeader = ownCopy(bytes.subarray(at))
          break
        }
        at += this.#begin(bytes, at, size)
        if (this.#is("Refused")) return length
      }
      const end = Math.min(bytes.length, at + this.#missing)
      const isDirect = this.#is("Direct")
      this.#missing -= end - at
      if (this.#missing === 0) this.#state = "Header"
      if (isDirect) this.#take(bytes, at, end)
      else this.#passOn(bytes, at, end)
      at = end
    }
    this.#book()
    return length
  }

  /** The state changes within calls, which TypeScript does not see. */
  #is(state: State): boolean {
    return this.#state === state
  }

  /** Books the memory of an unfinished message. Most reads end with a message, and book nothing. */
  #book(): void {
    const more = (this.#message?.length ?? 0) + this.#passedBytes - this.#share.held
    if (more < 0) this.#share.giveBack(-more)
    if (more > 0 && !this.#share.take(more)) this.#fail("no room")
  }

  #passOn(bytes: Buffer, from: number, to: number): void {
    if (this.#missing === 0 && this.#unfinished === undefined) this.#passedBytes = 0
    if (from < to && this.#parser.writable) this.#passPart(bytes.subarray(from, to), this.#missing)
  }

  /**
   * Passes what the parser needs for its next step once all of that has arrived. The parser joins parts in Node's pool,
   * and a mask or a fragment that it keeps would keep all of the pool alive.
   */
  #passPart(part: Uint8Array, missing: number): void {
    const end = this.#partSize + part.byteLength
    if (this.#part === undefined || this.#part.length < end) {
      const grown = Buffer.allocUnsafeSlow(Math.min(end + missing, Math.max(end * 4, minAllocation)))
      this.#part?.copy(grown, 0, 0, this.#partSize)
      this.#part = grown
    }
    this.#part.set(part, this.#partSize)
    this.#partSize = end
    if (missing > 0) return
    const whole = this.#part
    this.#part = undefined
    this.#partSize = 0
    this.#pass(whole)
  }

  /** Passes the rest of the message that the parser has begun, and no byte behind it. */
  #letParserEnd(bytes: Buffer, steps: number): number {
    let at = 0
    while (at < bytes.length) {
      if (!this.#parser.writable) return bytes.length
      const needed = neededBytes(this.#parser) - this.#partSize
      if (needed === 0) break
      if (steps-- <= 0) return at
      const end = Math.min(bytes.length, at + needed)
      this.#passPart(bytes.subarray(at, end), at + needed - end)
      at = end
    }
    if (neededBytes(this.#parser) === 0) this.#state = "Header"
    return at
  }

  /** Begins a frame, or refuses its message. Returns how many bytes of the header it has read. */
  #begin(bytes: Buffer, at: number, size: number): number {
    const first = bytes[at]!
    const opcode = first & 0x0f
    const isLast = (first & 0x80) !== 0
    const isPlain = (first & 0x70) === 0 && (bytes[at + 1]! & 0x80) !== 0 === this.#masked
    const length = payloadLengthAt(bytes, at)
    if (isPlain && opcode === directOpcode(this.#unfinished)) {
      this.#state = "Direct"
      this.#missing = length
      this.#isLast = isLast
      this.#frameStart = this.#filled
      if (this.#masked) { for (let i = 0; i < 4; i++) this.#key[i] = bytes[at + size - 4 + i]! }
      if (this.#frameStart + length > this.#limit) this.#fail("too big")
      return size
    }
    this.#state = "Passed"
    if (opcode < close) {
      if (this.#unfinished === "direct") this.#fail("interrupted")
      else this.#unfinished = isLast ? undefined : "passed"
      this.#passedBytes += Math.min(length, this.#limit)
    }
    const isWhole = bytes.length - at >= size + length
    this.#missing = isWhole ? size + length : length
    if (isWhole || this.#is("Refused")) return 0
    this.#pass(ownCopy(bytes.subarray(at, at + size)))
    return size
  }

  /** Copies a part of the payload to the message. */
  #take(bytes: Buffer, from: number, to: number): void {
    const end = this.#filled + to - from
    const message = this.#message !== undefined && this.#message.length >= end ? this.#message : this.#grow(end)
    bytes.copy(message, this.#filled, from, to)
    this.#filled = end
    if (this.#missing === 0) this.#endFrame(message)
  }

  /**
   * Allocates at most four times the bytes that have arrived: a peer may announce a large message and send little of
   * it.
   */
  #grow(needed: number): Buffer {
    const most = this.#isLast ? needed + this.#missing : this.#limit
    const size = Math.min(most, Math.max(needed * 4, minAllocation))
    // A listener that keeps a pooled message has to copy it. A message that waits for its rest is never pooled.
    const isPooled = size < pooledBelow && this.#missing === 0
    const message = isPooled ? Buffer.allocUnsafe(size) : Buffer.allocUnsafeSlow(size)
    this.#message?.copy(message, 0, 0, this.#filled)
    return this.#message = message
  }

  #endFrame(message: Buffer): void {
    if (this.#masked) mask(message, this.#frameStart, this.#filled, this.#key)
    if (!this.#isLast) {
      this.#unfinished = "direct"
      if (++this.#fragments > maxFragments(this.#limit)) this.#fail("too many fragments")
      return
    }
    const whole = this.#filled === message.length ? message : message.subarray(0, this.#filled)
    this.#unfinished = undefined
    this.#message = undefined
    this.#filled = 0
    this.#fragments = 0
    this.#listeners.receiver.onMessage(whole)
  }

  #fail(fault: Fault): void {
    this.#state = "Refused"
    this.#message = undefined
    this.#part = undefined
    this.#share.giveBack(this.#share.held)
    this.#refuse(fault)
  }
}

const minAllocation = 1024

/** Below this size a buffer of its own costs more than another copy. */
const pooledBelow = 512

/** Returns the opcode of a frame that this reader reads itself; undefined within a message of the parser. */
const directOpcode = (unfinished: Unfinished): number | undefined =>
  unfinished === "direct" ? continuation : unfinished === undefined ? binary : undefined
