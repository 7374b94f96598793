import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { MuxStream } from "../MuxStream.js"
import type { ReadError, WriteError } from "../WsmuxError.js"
import { TcpFailure, type TcpSocket } from "./tcp.js"

/**
 * Joins a stream and a TCP connection: bytes, back-pressure and half-closes pass both ways. It completes when both ways
 * have ended; when either fails it fails, and whoever owns the two resets the connection and leaves the stream.
 */
export const bridge = (
  stream: MuxStream,
  socket: TcpSocket
): Effect.Effect<void, ReadError | WriteError | TcpFailure> =>
  Effect.gen(function*() {
    const peerEnded = yield* Deferred.make<void>()
    const progress = { chunks: 0, isWriting: false }
    const outbound: Effect.Effect<void, WriteError | TcpFailure> = Effect.suspend(() => {
      progress.isWriting = false
      return Effect.flatMap(socket.read, (chunk) => {
        if (chunk._tag === "None") return stream.end
        progress.isWriting = true
        progress.chunks++
        return Effect.zipRight(stream.write(chunk.value), outbound)
      })
    })
    const inbound: Effect.Effect<void, ReadError | TcpFailure> = Effect.flatMap(stream.read, (chunk) =>
      chunk._tag === "Some"
        ? Effect.zipRight(socket.write(chunk.value), inbound)
        : Effect.zipRight(socket.end, Deferred.succeed(peerEnded, undefined)))
    const stalled: Effect.Effect<never, TcpFailure> = Effect.suspend(() => {
      const { chunks } = progress
      return Effect.flatMap(Effect.sleep(patience), () =>
        progress.isWriting && progress.chunks === chunks
          ? Effect.fail(new TcpFailure({ message: "the other end has gone and takes nothing more" }))
          : stalled)
    })
    // This wire has no reset: a peer that has gone shows as one that ended and, some time later, takes nothing more.
    yield* Effect.raceFirst(
      Effect.all([outbound, inbound], { concurrency: 2, discard: true }),
      Effect.zipRight(Deferred.await(peerEnded), stalled)
    )
  })

/** How long a peer that has ended its own half may leave a write of ours waiting. */
const patience = Duration.minutes(1)
