import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { directOf } from "../session/exchange.js"

interface Reader<out R> {
  readonly read: Effect.Effect<Option.Option<Uint8Array>, R>
}

interface Writer<out W> {
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, W>
  readonly end: Effect.Effect<void, W>
}

/**
 * Passes each chunk up to the end to `step`, and runs the effect that `step` may return before it takes the next chunk.
 */
export const forEach = <R, E, R2>(
  stream: Reader<R>,
  step: (chunk: Uint8Array) => unknown
): Effect.Effect<void, R | E, R2> => {
  const direct = directOf(stream)
  if (direct !== undefined) return direct.forEach<E, R2>(step) as Effect.Effect<void, R | E, R2>
  const isEffect = Effect.isEffect as (u: unknown) => u is Effect.Effect<unknown, E, R2>
  const rest: Effect.Effect<void, R | E, R2> = Effect.flatMap(stream.read, (chunk) => {
    if (chunk._tag === "None") return Effect.void
    const work = step(chunk.value)
    return isEffect(work) ? Effect.flatMap(work, () => rest) : rest
  })
  return rest
}

/** Reads up to the end. Fails with `tooLong` when the stream has more than `maxBytes`. */
export const readAll = <R, E>(
  stream: Reader<R>,
  maxBytes: number,
  tooLong: Effect.Effect<never, E>
): Effect.Effect<Uint8Array, R | E> =>
  Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    const add = (chunk: Uint8Array) => {
      size += chunk.byteLength
      return size > maxBytes ? tooLong : void chunks.push(chunk)
    }
    return Effect.map(
      forEach<R, E, never>(stream, add),
      () => chunks.length === 1 ? chunks[0]! : join(chunks, size)
    )
  })

const join = (chunks: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const whole = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole
}

/** Writes bytes and ends behind them. */
export const writeEnd = <W>(stream: Writer<W>, data: Uint8Array | string): Effect.Effect<void, W> => {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data
  return directOf(stream)?.writeEnd(bytes) as Effect.Effect<void, W> | undefined ??
    Effect.zipRight(stream.write(bytes), stream.end)
}

/** Decodes UTF-8, and keeps a byte order mark, as `readLine` does. */
export const decodeText = (bytes: Uint8Array): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)

/** Splits text at `\n` and `\r\n`. Text behind the last of them is a line, too. */
export const splitLines = (text: string): Array<string> => {
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === "") lines.pop()
  return lines
}
