import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { opaque } from "../../Address.js"
import type { Pair, Server, ServerOptions } from "../../MemoryTransport.js"
import type { Transport } from "../../Transport.js"
import type { Connection, UpgradeRequest } from "../../TransportServer.js"
import { ConnectFailure } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"

type Handler<P> = (transport: Transport, connection: Connection<P>) => Effect.Effect<void>

const url = "memory:server"

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
    const handlers = new Notify()
    let handler: Handler<P> | undefined

    const admit = (request: UpgradeRequest): Effect.Effect<P, ConnectFailure> =>
      authorize === undefined
        ? Effect.succeed(undefined as P)
        : authorize(request).pipe(
          Effect.mapError(({ status }) => new ConnectFailure({ url, reason: "Rejected", status })),
          Effect.provide(context)
        )
    // Forked within the mask, so that a fiber that is interrupted before its first step ends its connection, too.
    const serve = ({ server }: Pair, connection: Connection<P>) =>
      Effect.uninterruptibleMask((restore) =>
        handlers.waitUntil(() => handler && Effect.succeed(handler)).pipe(
          Effect.flatMap((handle) => handle(server, connection)),
          restore,
          Effect.ensuring(server.close(1006, "", 0)), // ends at once what the handler has not closed
          FiberSet.run(connections)
        )
      )
    const connect = ({ headers = {}, url: path = "/" }: Partial<UpgradeRequest> = {}) =>
      Effect.gen(function*() {
        if (!isListening) return yield* new ConnectFailure({ url, reason: "Unreachable" })
        const request = { url: path, headers }
        const principal = yield* admit(request)
        const pair = yield* makePair
        yield* serve(pair, { principal, request })
        return pair
      })

    const run = <E, R2>(
      handle: (transport: Transport, connection: Connection<P>) => Effect.Effect<unknown, E, R2>
    ) =>
      Effect.acquireUseRelease(
        Effect.map(Effect.context<R2>(), (context) => {
          handler = (transport, connection) =>
            Effect.suspend(() => handle(transport, connection)).pipe(
              Effect.scoped,
              Effect.provide(context),
              Effect.catchAllCause((cause) =>
                Cause.isInterruptedOnly(cause)
                  ? Effect.void
                  : Effect.logDebug("the handler of a connection failed", cause)
              ),
              Effect.asVoid
            )
          handlers.notifyAll()
        }),
        () => Effect.never,
        () =>
          Effect.suspend(() => {
            handler = undefined
            return FiberSet.clear(connections)
          })
      )
    return { address: opaque(url), maxMessageSize, run: run as Server<P>["run"], connect }
  })
