import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { LineOptions, LineTooLong, Operations, UnexpectedEnd } from "../../ByteStream.js"
import type { Callbacks } from "../session/callbacks.js"
import { unsafeSize } from "../settings/validate.js"
import { later } from "../sync/later.js"

/** The classes of the failures. They are passed in, since the public module that defines them imports this one. */
interface Failures {
  readonly LineTooLong: typeof LineTooLong
  readonly UnexpectedEnd: typeof UnexpectedEnd
}

/**
 * Reads a stream ahead, and puts bytes back. An operation that fails, or is interrupted while it waits, leaves the
 * bytes unread.
 *
 * The bytes lie in one buffer that doubles when it is full. So tiny chunks of a peer cost little more than their bytes.
 */
export class ReadAhead<R> {
  readonly #source: Pick<Operations<R>, "read">
  readonly #failures: Failures
  /** Holds the bytes from `#start` to `#end`. */
  #buffer: Uint8Array = nothing
  #start = 0
  #end = 0

  constructor(source: Pick<Operations<R>, "read">, failures: Failures) {
    this.#source = source
    this.#failures = failures
  }

  readonly read: Effect.Effect<Option.Option<Uint8Array>, R> = Effect.suspend(() =>
    this.#size > 0 ? Effect.succeedSome(this.#takeAll()) : this.#source.read
  )

  /** The same stream with callbacks: reads take the bytes that were read ahead first. */
  callbacks<W>(source: Callbacks<R, W>): Callbacks<R, W> {
    const unsafeRead = () => this.#size > 0 ? Exit.succeed(Option.some(this.#takeAll())) : source.unsafeRead()
    return {
      unsafeRead,
      read: (done) =>
        this.#size > 0
          ? later((wake) => (wake(), nothingToCancel), () => done(unsafeRead()!))
          : source.read(done),
      unsafeWrite: (chunk) => source.unsafeWrite(chunk),
      write: (chunks, done) => source.write(chunks, done),
      end: (done) => source.end(done),
      resets: source.resets
    }
  }

  readExactly(size: number): Effect.Effect<Uint8Array, R | UnexpectedEnd> {
    if (!Number.isSafeInteger(size) || size < 0) {
      return Effect.die(new RangeError(`cannot read exactly: the size must be a non-negative integer, not ${size}`))
    }
    const attempt: Effect.Effect<Uint8Array, R | UnexpectedEnd> = Effect.suspend(() =>
      this.#size < size ? this.#more(attempt, size) : Effect.succeed(this.#take(size))
    )
    return attempt
  }

  readLine({ maxBytes = 8192 }: LineOptions = {}): Effect.Effect<
    Option.Option<string>,
    R | UnexpectedEnd | LineTooLong
  > {
    return Effect.suspend(() => {
      unsafeSize("maxBytes", maxBytes, 0)
      let searched = 0
      const attempt: Effect.Effect<Option.Option<string>, R | UnexpectedEnd | LineTooLong> = Effect.suspend(() => {
        const length = this.#waiting.indexOf(newline, searched)
        searched = this.#size
        if (length > maxBytes || (length === -1 && searched > maxBytes)) {
          return new this.#failures.LineTooLong({ maxBytes })
        }
        if (length !== -1) return Effect.succeedSome(decode(this.#take(length + 1)))
        return searched === 0
          ? Effect.flatMap(this.#fill, (filled) => filled ? attempt : Effect.succeedNone)
          : this.#more(attempt, undefined)
      })
      return attempt
    })
  }

  unread(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    const waiting = this.#waiting
    this.#buffer = new Uint8Array(bytes.byteLength + waiting.byteLength)
    this.#buffer.set(bytes)
    this.#buffer.set(waiting, bytes.byteLength)
    this.#start = 0
    this.#end = this.#buffer.byteLength
  }

  /** Repeats the attempt with more bytes. Fails at the end of the stream. */
  #more<A, E>(attempt: Effect.Effect<A, E>, wanted: number | undefined): Effect.Effect<A, E | R | UnexpectedEnd> {
    return Effect.flatMap(
      this.#fill,
      (filled): Effect.Effect<A, E | UnexpectedEnd> =>
        filled ? attempt : new this.#failures.UnexpectedEnd({ wanted, received: this.#size })
    )
  }

  /** Reads a chunk into the buffer. Completes with false at the end. A chunk that was read is always stored. */
  get #fill(): Effect.Effect<boolean, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.map(restore(this.#source.read), (chunk) => {
        if (Option.isNone(chunk)) return false
        this.#append(chunk.value)
        return true
      })
    )
  }

  get #size(): number {
    return this.#end - this.#start
  }

  get #waiting(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end)
  }

  #append(chunk: Uint8Array): void {
    if (this.#size === 0) {
      this.#buffer = chunk
      this.#start = 0
      this.#end = chunk.byteLength
      return
    }
    const size = this.#size + chunk.byteLength
    if (this.#end + chunk.byteLength > this.#buffer.byteLength) {
      const waiting = this.#waiting
      this.#buffer = new Uint8Array(Math.max(size, 2 * waiting.byteLength))
      this.#buffer.set(waiting)
      this.#start = 0
      this.#end = waiting.byteLength
    }
    this.#buffer.set(chunk, this.#end)
    this.#end += chunk.byteLength
  }

  #takeAll(): Uint8Array {
    const taken = this.#waiting
    this.#buffer = nothing
    this.#start = this.#end = 0
    return taken
  }

  #take(size: number): Uint8Array {
    const taken = new Uint8Array(this.#buffer.subarray(this.#start, this.#start + size))
    this.#start += size
    if (this.#size === 0) this.#takeAll()
    return taken
  }
}

const nothing = new Uint8Array(0)

const nothingToCancel = (): void => {}

const newline = 0x0a
const carriageReturn = 0x0d

/** Decodes a line without its `\n` or `\r\n`. */
const decode = (line: Uint8Array): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    line.subarray(0, line.byteLength - (line.at(-2) === carriageReturn ? 2 : 1))
  )
