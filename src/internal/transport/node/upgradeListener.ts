import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Net from "node:net"

/** A request for an upgrade, the socket it came on, and the first bytes behind its headers. */
type OnUpgrade = (request: Http.IncomingMessage, socket: Net.Socket, head: Buffer) => void

/** The path of each listener of this package, to tell which listener answers a request for no path. */
const paths = new WeakMap<object, string | undefined>()

/**
 * Calls `onUpgrade` for the upgrade requests of a server that ask for the path, until the scope closes. Calls `onNone`
 * for a request that no listener takes, unless the server has listeners of the program's own.
 */
export const listenToUpgrades = (
  server: Http.Server,
  path: string | undefined,
  onUpgrade: OnUpgrade,
  onNone: OnUpgrade
): Effect.Effect<void, never, Scope.Scope> => {
  const listener: OnUpgrade = (request, socket, head) => {
    socket.on("error", ignoreError) // without a listener Node throws an early error of the socket
    if (matches(path, request)) onUpgrade(request, socket, head)
    else if (isFirstOfNone(server, listener, request)) onNone(request, socket, head)
  }
  paths.set(listener, path)
  return Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => server.on("upgrade", listener)),
    () => Effect.sync(() => server.off("upgrade", listener))
  ))
}

const matches = (path: string | undefined, request: Http.IncomingMessage): boolean =>
  path === undefined || (request.url ?? "/").split("?", 1)[0] === path

/** Whether this listener speaks for all: all listeners are of this package, none matches, and this one is the first. */
const isFirstOfNone = (server: Net.Server, listener: object, request: Http.IncomingMessage): boolean => {
  const listeners = server.listeners("upgrade")
  return listeners[0] === listener &&
    listeners.every((other) => paths.has(other) && !matches(paths.get(other), request))
}

const ignoreError = (): void => {}
