import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { ByteStream } from "../ByteStream.js"
import * as NodeDuplex from "../NodeDuplex.js"
import { DuplexFailure, ListenFailure } from "../WsmuxError.js"
import * as Endpoint from "./endpoint.js"

/** Connects; the scope owns the connection, and resets it unless it has ended both ways. */
export const connect = (
  target: Endpoint.Endpoint
): Effect.Effect<ByteStream<DuplexFailure>, DuplexFailure, Scope.Scope> =>
  Effect.mapError(
    NodeDuplex.toByteStream(() => Net.connect({ ...target, allowHalfOpen: true, noDelay: true })),
    ({ cause, detail }) => new DuplexFailure({ detail: `cannot reach ${Endpoint.format(target)}: ${detail}`, cause })
  )

/**
 * Listens, and handles every connection in a fiber of the set, which owns it. Answers where it listens; the scope ends the
 * listening.
 */
export const listen = <R>(
  endpoint: Endpoint.Endpoint,
  connections: FiberSet.FiberSet<void>,
  handler: (socket: ByteStream<DuplexFailure>) => Effect.Effect<void, never, R>
): Effect.Effect<Endpoint.Endpoint, ListenFailure, R | Scope.Scope> =>
  Effect.gen(function*() {
    const fork = yield* FiberSet.runtime(connections)<R>()
    const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, (connection) => {
      fork(NodeDuplex.toByteStream(() => connection).pipe(Effect.orDie, Effect.flatMap(handler), Effect.scoped))
    })
    yield* Effect.acquireRelease(
      Effect.async<void, ListenFailure>((resume) => {
        server.once("error", (cause) =>
          resume(Effect.fail(new ListenFailure({ address: Endpoint.format(endpoint), cause }))))
        server.listen(endpoint.port, endpoint.host, () =>
          resume(Effect.void))
      }),
      () => Effect.sync(() => server.close())
    )
    const { address, port } = server.address() as Net.AddressInfo
    return { host: address, port }
  })
