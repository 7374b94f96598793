import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"

type Server = Http.Server | Https.Server

/** The number of open scopes that watch each server. */
const watches = new WeakMap<Server, number>()

/**
 * Puts the time-outs of a server that does not listen in force while the scope is open: `headersTimeout`,
 * `requestTimeout`, and the connections that `closeIdleConnections` closes. Node itself starts this watch when a server
 * begins to listen.
 */
export const watchRequests = (server: object): Effect.Effect<void, never, Scope.Scope> =>
  server instanceof Http.Server || server instanceof Https.Server
    ? Effect.acquireRelease(Effect.sync(() => begin(server)), () => Effect.sync(() => leave(server)))
    : Effect.void

const begin = (server: Server): void => {
  const count = watches.get(server) ?? 0
  watches.set(server, count + 1)
  if (count > 0 || server.listening) return
  // Node's own listener starts the watch. The user's listeners are not called, since there is no port.
  const fresh = server instanceof Https.Server ? new Https.Server() : new Http.Server()
  for (const listener of fresh.listeners("listening")) listener.call(server)
}

const leave = (server: Server): void => {
  const count = watches.get(server)! - 1
  watches.set(server, count)
  if (count > 0 || server.listening) return
  // Closing ends the watch. A stand-in is closed instead of the server, which stays open and emits no `close`.
  const standIn = Object.create(server, { emit: { value: () => false } }) as Server
  standIn.close()
}
