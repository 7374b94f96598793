import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { ListenFailure } from "../WsmuxError.js"
import * as Endpoint from "./endpoint.js"
import type { Path } from "./forwards/place.js"
import * as UnixSocket from "./unixSocket.js"

/**
 * The milliseconds that an attempt at one address of a host may take before the next address is tried. The 250 ms of
 * Node give up an attempt that has lost a single packet, because the kernel repeats a SYN after one second.
 */
const attemptTimeout = 2000

const options = (keepAlive: Duration.Duration) => ({
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: Duration.isFinite(keepAlive),
  keepAliveInitialDelay: Duration.isFinite(keepAlive) ? Duration.toMillis(keepAlive) : 0
})

/** A host with a port, or a unix socket. */
type Place = Endpoint.Endpoint | Path

const isPath = (place: Place): place is Path => "path" in place

const format = (place: Place): string => isPath(place) ? place.path : Endpoint.format(place)

/** Dials a target. `lookup` resolves its name. */
export const dial = (target: Place, keepAlive: Duration.Duration, lookup?: Net.LookupFunction): Net.Socket =>
  watch(Net.connect(
    isPath(target) ? { path: target.path, ...options(keepAlive) } : {
      host: target.host,
      port: target.port,
      ...options(keepAlive),
      ...(lookup === undefined ? {} : { lookup }),
      autoSelectFamilyAttemptTimeout: attemptTimeout
    }
  ))

/** Makes a server of connections. */
export const makeServer = (keepAlive: Duration.Duration): Net.Server =>
  Net.createServer(options(keepAlive)).on("connection", watch)

/**
 * Listens. The host `*` means every interface. Completes with the address of the listener. The scope closes the
 * listener. Takes over the path of a unix socket whose process has died, and lets only its own user connect there.
 */
export const listen = <P extends Place>(server: Net.Server, place: P): Effect.Effect<P, ListenFailure, Scope.Scope> =>
  Effect.acquireRelease(
    isPath(place)
      ? Effect.catchIf(
        bind(server, place),
        ({ cause }) => codeOf(cause) === "EADDRINUSE",
        (failure) => Effect.zipRight(UnixSocket.removeStale(place.path, failure), bind(server, place))
      )
      : bind(server, place),
    () => Effect.sync(() => server.close())
  )

const bind = <P extends Place>(server: Net.Server, place: P): Effect.Effect<P, ListenFailure> =>
  Effect.async<P, ListenFailure>((resume) => {
    server.removeAllListeners("error") // of the last place
    // Later errors concern connections that the server cannot accept. The others go on.
    server.on("error", (cause) => resume(Effect.fail(new ListenFailure({ address: format(place), cause }))))
    const onListening = () => {
      const address = server.address()
      const isAtPort = address !== null && typeof address === "object"
      resume(Effect.succeed(isAtPort ? { ...place, host: address.address, port: address.port } : place))
    }
    if (isPath(place)) UnixSocket.asOwner(() => server.listen(place.path, onListening))
    else if (place.host === "*") server.listen(place.port, onListening)
    else server.listen(place.port, place.host, onListening)
  })

const codeOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException | undefined)?.code

/** The connections of this process. */
const live = new Set<Net.Socket>()

/** Resets every connection of a process that is about to exit. The kernel would end them with FIN. */
export const resetAll = (): void => {
  for (const socket of live) {
    // A connection whose only unsent packet is its FIN cannot be reset (EINVAL).
    const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
    if (isEnding || socket.connecting) socket.destroy()
    else resetOne(socket)
  }
}

/** A unix socket knows no reset, and throws. Its peer sees an end. */
const resetOne = (socket: Net.Socket): void => {
  try {
    socket.resetAndDestroy()
  } catch {
    socket.destroy()
  }
}

const watch = (socket: Net.Socket): Net.Socket => {
  live.add(socket)
  return socket.once("close", () => live.delete(socket))
}

/** The addresses of both ends of a connection, as text. */
export const addressesOf = (socket: Net.Socket): { readonly peer: string; readonly local: string } => ({
  peer: peerOf(socket),
  local: addressOf(socket, socket.localAddress, socket.localPort)
})

/** The address of the other end of a connection, as text. Asks the kernel. */
export const peerOf = (socket: Net.Socket): string => addressOf(socket, socket.remoteAddress, socket.remotePort)

/** The end of a unix socket has no address. Node forgets the addresses of a socket that it has destroyed. */
const addressOf = (socket: Net.Socket, host: string | undefined, port: number | undefined): string => {
  if (host !== undefined && port !== undefined) return Endpoint.format({ host, port })
  return socket.destroyed ? "a connection that has gone" : "a unix socket"
}
