import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { Duplex } from "node:stream"

/** A stream as Node's protocols want it, as far as tests need it. It ends with the scope. */
export const makeDuplex = (stream: MuxStream) =>
  Effect.gen(function*() {
    const run = yield* FiberSet.makeRuntime<never>()
    const settle = <A, E extends Error>(
      operation: Effect.Effect<A, E>,
      onSuccess: (a: A) => void,
      onFailure: (error: E) => void
    ) => run(Effect.match(operation, { onSuccess, onFailure }))

    const duplex: Duplex = new Duplex({
      read: () => settle(stream.read, (chunk) => duplex.push(chunk._tag === "Some" ? chunk.value : null), fail),
      write: (chunk, _encoding, done) => settle(stream.write(chunk), () => done(), done),
      final: (done) => settle(stream.end, () => done(), done)
    })
    const fail = (error: Error) => duplex.destroy(error)
    return yield* Effect.acquireRelease(
      Effect.succeed(duplex),
      (duplex) => Effect.sync(() => duplex.destroy())
    )
  })
