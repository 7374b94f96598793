import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { opaque } from "../../Address.js"
import type { Pair, Server, ServerOptions } from "../../MemoryTransport.js"
import type { Connection, UpgradeRequest } from "../../TransportServer.js"
import { ConnectFailure } from "../../WsmuxError.js"
import { ConnectionHandler } from "./connectionHandler.js"

const url = "memory:server"

/** Refuses a client of a server that takes no more connections, as `NodeTransportServer` does. */
const stopped = new ConnectFailure({ url, reason: "Rejected", status: 503, retryAfterMillis: 1000 })

/** @param makePair makes the link of one connection, in the scope of the end that dials */
export const makeServer = <R, P>(
  { authorize, maxMessageSize }: ServerOptions<R, P> & { readonly maxMessageSize: number },
  makePair: Effect.Effect<Pair, never, Scope.Scope>
): Effect.Effect<Server<P>, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<R>()
    let isListening = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isListening = false
      })
    )
    const connections = yield* FiberSet.make<void>()
    const handler = new ConnectionHandler<P>()

    const admit = (request: UpgradeRequest): Effect.Effect<P, ConnectFailure> =>
      authorize === undefined
        ? Effect.succeed(undefined as P)
        : authorize(request).pipe(
          Effect.mapError(({ status }) => new ConnectFailure({ url, reason: "Rejected", status })),
          Effect.provide(context)
        )
    // The mask covers the finaliser, so that an interruption before the first step ends the connection, too.
    const serve = ({ server }: Pair, connection: Connection<P>) =>
      Effect.uninterruptibleMask((restore) =>
        handler.awaitHandler.pipe(
          Effect.flatMap((handle) => handle(server, () => connection)),
          restore,
          Effect.ignore, // a connection that waited for a handler when the server stopped
          Effect.ensuring(server.close(1006, "", 0)), // ends a connection that the handler has left open
          FiberSet.run(connections)
        )
      )
    const connect = ({ headers = {}, url: path = "/" }: Partial<UpgradeRequest> = {}) =>
      Effect.gen(function*() {
        if (!isListening) return yield* new ConnectFailure({ url, reason: "Unreachable" })
        if (handler.isStopped) return yield* stopped
        const request = { url: path, headers }
        const principal = yield* admit(request)
        if (handler.isStopped) return yield* stopped
        const pair = yield* makePair
        yield* serve(pair, { principal, request })
        return pair
      })
    return {
      address: opaque(url),
      maxMessageSize,
      run: (handle) => handler.run(handle, FiberSet.clear(connections)),
      stopAccepting: handler.stop,
      connect
    }
  })
