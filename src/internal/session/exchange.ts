import * as Effect from "effect/Effect"
import type { ReadError, WriteError } from "../../WsmuxError.js"
import { MuxStreamHandle } from "./handle.js"

/** Operations of `ByteStream` on a stream of a session, in fewer steps than its public operations take. */
export interface Direct {
  readonly forEach: <E, R>(step: (chunk: Uint8Array) => unknown) => Effect.Effect<void, ReadError | E, R>
  readonly writeEnd: (bytes: Uint8Array) => Effect.Effect<void, WriteError>
}

/** Returns the direct operations of a stream; undefined for a stream that another package or a wrapper made. */
export const directOf = (stream: unknown): Direct | undefined => {
  if (!(stream instanceof MuxStreamHandle)) return undefined
  const { recvHalf, sendHalf } = MuxStreamHandle.stateOf(stream)
  return {
    // Takes the chunks that have arrived without an effect for each.
    forEach: <E, R>(step: (chunk: Uint8Array) => unknown) => {
      const isEffect = Effect.isEffect as (u: unknown) => u is Effect.Effect<unknown, E, R>
      const rest: Effect.Effect<void, ReadError | E, R> = recvHalf.waitUntil(() => {
        for (;;) {
          const chunk = recvHalf.take()
          if (chunk === undefined) return undefined
          if (chunk === "End") return Effect.void
          if (!(chunk instanceof Uint8Array)) return Effect.fail(chunk)
          const work = step(chunk)
          if (isEffect(work)) return Effect.flatMap(work, () => rest)
        }
      })
      return rest
    },
    writeEnd: (bytes) => sendHalf.writeEnd([bytes])
  }
}
