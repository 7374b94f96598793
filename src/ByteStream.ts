/**
 * Bytes both ways with an end each way: what a `MuxStream` is to whoever joins it with something else. Node's duplexes and
 * web streams become one by `NodeDuplex.toByteStream` and `WebStreams.toByteStream`.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { MuxStream } from "./MuxStream.js"
import { type ReadError, Stalled, type WriteError } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Operations<out E> {
  /** The next chunk, or none at the end. Interrupted while waiting, it takes nothing. */
  readonly read: Effect.Effect<Option.Option<Uint8Array>, E>
  /** Completes when the other end can take more. */
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, E>
  /** Sends the end; reading may go on. */
  readonly end: Effect.Effect<void, E>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ByteStream<out E> extends Operations<E> {
  /** The bytes up to the end; a loss is a failure. */
  readonly readable: Stream.Stream<Uint8Array, E>
  /** Writes what it is given, and sends the end when its input ends; not when that fails or is interrupted. */
  readonly writable: Sink.Sink<void, Uint8Array, never, E>
}

/**
 * Gives plain operations a `Stream` and a `Sink`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E>(operations: Operations<E>): ByteStream<E> => ({
  ...operations,
  readable: Stream.repeatEffectOption(
    Effect.flatMap(
      Effect.mapError(operations.read, Option.some),
      Option.match({ onNone: () => Effect.fail(Option.none()), onSome: Effect.succeed })
    )
  ),
  writable: Sink.mapEffect(Sink.forEach(operations.write), () => operations.end)
})

/**
 * Joins a stream of a session with something else: bytes, back-pressure and ends pass both ways. Completes when both ways
 * have ended, and fails when either does; whoever owns the two leaves the stream and resets the other then.
 *
 * This wire has no reset: a peer that has gone looks like one that has ended and, some time later, takes nothing more. So
 * it fails with `Stalled` when the stream's peer has ended its half and a write waits for longer than `patience`, one minute
 * unless told otherwise.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import type { MuxStream } from "effect-wsmux/MuxStream"
 * import * as NodeDuplex from "effect-wsmux/NodeDuplex"
 * import * as Net from "node:net"
 *
 * // a handler for Session.run: each stream becomes a TCP connection
 * export const toPostgres = (stream: MuxStream) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const socket = yield* NodeDuplex.toByteStream(() => Net.connect({ port: 5432, allowHalfOpen: true }))
 *     yield* ByteStream.join(stream, socket)
 *   }))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const join = <E>(
  stream: Pick<MuxStream, "read" | "write" | "end">,
  other: Operations<E>,
  options: { readonly patience?: Duration.DurationInput | undefined } = {}
): Effect.Effect<void, E | ReadError | WriteError | Stalled> =>
  Effect.gen(function*() {
    const patience = Duration.decode(options.patience ?? Duration.minutes(1))
    const peerEnded = yield* Deferred.make<void>()
    const progress = { chunks: 0, isWriting: false }
    const outbound: Effect.Effect<void, E | WriteError> = Effect.suspend(() => {
      progress.isWriting = false
      return Effect.flatMap(other.read, (chunk) => {
        if (chunk._tag === "None") return stream.end
        progress.isWriting = true
        progress.chunks++
        return Effect.zipRight(stream.write(chunk.value), outbound)
      })
    })
    const inbound: Effect.Effect<void, E | ReadError> = Effect.flatMap(
      stream.read,
      (chunk): Effect.Effect<void, E | ReadError> =>
        chunk._tag === "Some"
          ? Effect.zipRight(other.write(chunk.value), inbound)
          : Effect.zipRight(other.end, Deferred.succeed(peerEnded, undefined))
    )
    const stalled: Effect.Effect<never, Stalled> = Effect.suspend(() => {
      const { chunks } = progress
      return Effect.flatMap(Effect.sleep(patience), () =>
        progress.isWriting && progress.chunks === chunks
          ? Effect.fail(new Stalled({ afterMillis: Duration.toMillis(patience) }))
          : stalled)
    })
    yield* Effect.raceFirst(
      Effect.all([outbound, inbound], { concurrency: 2, discard: true }),
      Effect.zipRight(Deferred.await(peerEnded), stalled)
    )
  })
