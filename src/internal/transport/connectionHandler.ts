import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Transport } from "../../Transport.js"
import type { Connection } from "../../TransportServer.js"
import { Notify } from "../sync/notify.js"

/**
 * Serves a connection, and never fails. The handler calls `takeConnection` when it starts, so that no stack frame
 * keeps the headers of a request for as long as its session lives.
 */
export type Handler<P> = (transport: Transport, takeConnection: () => Connection<P>) => Effect.Effect<void>

/** The server takes no more connections. */
export type Stopped = "Stopped"

/** The handler of a server's connections, which `TransportServer.run` sets. */
export class ConnectionHandler<P> {
  #handler: Handler<P> | undefined
  #isStopped = false
  readonly #changes = new Notify()

  /** Waits until a handler is set. Fails when the server takes no more connections before. */
  readonly awaitHandler: Effect.Effect<Handler<P>, Stopped> = this.#changes.waitUntil(() =>
    this.#handler ? Effect.succeed(this.#handler) : this.#isStopped ? Effect.fail("Stopped" as const) : undefined
  )

  /** Whether the server takes no more connections. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** The server takes no more connections. */
  readonly stop: Effect.Effect<void> = Effect.sync(() => {
    this.#isStopped = true
    this.#changes.notifyAll()
  })

  /** Sets the handler until it is interrupted, and then ends the connections. */
  run<E, R>(
    handle: (transport: Transport, connection: Connection<P>) => Effect.Effect<unknown, E, R>,
    endConnections: Effect.Effect<void>
  ): Effect.Effect<never, never, Exclude<R, Scope.Scope>> {
    return Effect.acquireUseRelease(
      Effect.map(Effect.context<Exclude<R, Scope.Scope>>(), (context) => {
        const isBare = bareHandlers.has(handle)
        this.#handler = (transport, takeConnection) => {
          const handling = Effect.suspend(() => handle(transport, takeConnection()))
          if (isBare) return Effect.provide(handling as Effect.Effect<void, never, Exclude<R, Scope.Scope>>, context)
          return handling.pipe(
            Effect.scoped, // the context may hold the scope of the server
            Effect.provide(context),
            Effect.catchAllCause(logFailure),
            Effect.asVoid
          )
        }
        this.#changes.notifyAll()
      }),
      () => Effect.never,
      () =>
        Effect.suspend(() => {
          this.#handler = undefined
          return endConnections
        })
    )
  }
}

const bareHandlers = new WeakSet<object>()

/**
 * Marks a handler that takes no scope and never fails. Its connections go without the scope and the frames of the
 * others, which take 5 KB of each.
 */
export const bare = <P, R>(
  handle: (transport: Transport, connection: Connection<P>) => Effect.Effect<void, never, R>
): typeof handle => {
  bareHandlers.add(handle)
  return handle
}

/** A failure of a handler ends its own connection only. */
export const logFailure = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Cause.isInterruptedOnly(cause)
    ? Effect.void
    : Effect.logDebug("cannot go on with a connection: its handler failed", cause)
