import * as Address from "effect-wsmux/Address"
import type { Transport } from "effect-wsmux/Transport"
import type * as TransportServer from "effect-wsmux/TransportServer"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Queue from "effect/Queue"

/** A transport server that takes its connections from the test. */
export const makeMemoryServer = (maxMessageSize: number) =>
  Effect.gen(function*() {
    const arrivals = yield* Queue.unbounded<Transport>()
    const server: TransportServer.Service = {
      address: Address.opaque("memory:server"),
      maxMessageSize,
      run: (handler) =>
        Effect.scoped(Effect.gen(function*() {
          const connections = yield* FiberSet.make()
          const serve = (transport: Transport) =>
            FiberSet.run(
              connections,
              Effect.scoped(handler(transport, { principal: undefined, request: { url: "/", headers: {} } }))
            )
          return yield* Effect.forever(Effect.flatMap(Queue.take(arrivals), serve))
        })) as ReturnType<typeof server.run<unknown, never>>,
      stopAccepting: Effect.void
    }
    return { server, connect: (transport: Transport) => Queue.offer(arrivals, transport) }
  })
