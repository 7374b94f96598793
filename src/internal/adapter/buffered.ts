import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { LineOptions, LineTooLong, Operations, UnexpectedEnd } from "../../ByteStream.js"

/** What it fails with. The public module, which holds these classes, imports this one. */
interface Failures {
  readonly LineTooLong: typeof LineTooLong
  readonly UnexpectedEnd: typeof UnexpectedEnd
}

/** Reads a stream ahead and puts bytes back. What is interrupted or fails leaves the bytes where they were. */
export class ReadAhead<R> {
  readonly #source: Pick<Operations<R>, "read">
  readonly #failures: Failures
  #chunks: Array<Uint8Array> = []
  #size = 0

  constructor(source: Pick<Operations<R>, "read">, failures: Failures) {
    this.#source = source
    this.#failures = failures
  }

  readonly read: Effect.Effect<Option.Option<Uint8Array>, R> = Effect.suspend(() =>
    this.#size > 0 ? Effect.succeedSome(this.#shift()) : this.#source.read
  )

  readExactly(size: number): Effect.Effect<Uint8Array, R | UnexpectedEnd> {
    if (!Number.isSafeInteger(size) || size < 0) return Effect.die(new RangeError(`readExactly: not a size: ${size}`))
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
      let searched = 0
      const attempt: Effect.Effect<Option.Option<string>, R | UnexpectedEnd | LineTooLong> = Effect.suspend(() => {
        const length = this.#indexOf(newline, searched)
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
    this.#chunks.unshift(bytes)
    this.#size += bytes.byteLength
  }

  /** Goes on with more bytes, or fails where there are no more. */
  #more<A, E>(attempt: Effect.Effect<A, E>, wanted: number | undefined): Effect.Effect<A, E | R | UnexpectedEnd> {
    return Effect.flatMap(
      this.#fill,
      (filled): Effect.Effect<A, E | UnexpectedEnd> =>
        filled ? attempt : new this.#failures.UnexpectedEnd({ wanted, received: this.#size })
    )
  }

  /** False at the end. Taking a chunk and keeping it are one step. */
  get #fill(): Effect.Effect<boolean, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.map(restore(this.#source.read), (chunk) => {
        if (Option.isNone(chunk)) return false
        if (chunk.value.byteLength > 0) this.#chunks.push(chunk.value)
        this.#size += chunk.value.byteLength
        return true
      })
    )
  }

  #indexOf(byte: number, from: number): number {
    let start = 0
    for (const chunk of this.#chunks) {
      const index = start + chunk.byteLength > from ? chunk.indexOf(byte, Math.max(from - start, 0)) : -1
      if (index !== -1) return start + index
      start += chunk.byteLength
    }
    return -1
  }

  #shift(): Uint8Array {
    const chunk = this.#chunks.shift()!
    this.#size -= chunk.byteLength
    return chunk
  }

  #take(size: number): Uint8Array {
    const taken = new Uint8Array(size)
    for (let filled = 0; filled < size;) {
      const chunk = this.#shift()
      const part = chunk.subarray(0, size - filled)
      taken.set(part, filled)
      filled += part.byteLength
      this.unread(chunk.subarray(part.byteLength))
    }
    return taken
  }
}

const newline = 0x0a
const carriageReturn = 0x0d

/** A line without what ends it. */
const decode = (line: Uint8Array): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    line.subarray(0, line.byteLength - (line.at(-2) === carriageReturn ? 2 : 1))
  )

/** The streams that were made to be read ahead, by what was made of them. */
const origins = new WeakMap<object, object>()

export const setOrigin = <A extends object>(derived: A, origin: object): A => {
  origins.set(derived, originOf(origin))
  return derived
}

export const originOf = (stream: object): object => origins.get(stream) ?? stream
