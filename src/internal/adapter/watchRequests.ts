import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"

type Server = Http.Server | Https.Server

/** How many scopes have a server watched. */
const watches = new WeakMap<Server, number>()

/**
 * Has Node watch over the requests of a server that does not listen, for as long as the scope is open: `headersTimeout`,
 * `requestTimeout`, and the connections that `closeIdleConnections` closes. Node itself starts this watch with listening.
 */
export const watchRequests = (server: object): Effect.Effect<void, never, Scope.Scope> =>
  server instanceof Http.Server || server instanceof Https.Server
    ? Effect.acquireRelease(Effect.sync(() => begin(server)), () => Effect.sync(() => leave(server)))
    : Effect.void

const begin = (server: Server): void => {
  const count = watches.get(server) ?? 0
  watches.set(server, count + 1)
  if (count > 0 || server.listening) return
  // What Node does itself when a server begins to listen. The listeners of the user's are not told: there is no port.
  const fresh = server instanceof Https.Server ? new Https.Server() : new Http.Server()
  for (const listener of fresh.listeners("listening")) listener.call(server)
}

const leave = (server: Server): void => {
  const count = watches.get(server)! - 1
  watches.set(server, count)
  if (count > 0 || server.listening) return
  // Closing ends the watch. A stand-in is closed, so that the server itself stays open and emits no `close`.
  const standIn = Object.create(server, { emit: { value: () => false } }) as Server
  standIn.close()
}
