import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { ListenFailure } from "../WsmuxError.js"
import * as Endpoint from "./endpoint.js"

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

/** Dials a target. */
export const dial = (target: Endpoint.Endpoint, keepAlive: Duration.Duration): Net.Socket =>
  watch(Net.connect({ ...target, ...options(keepAlive), autoSelectFamilyAttemptTimeout: attemptTimeout }))

/** Makes a server of connections. */
export const makeServer = (keepAlive: Duration.Duration): Net.Server =>
  Net.createServer(options(keepAlive)).on("connection", watch)

/** Listens. Completes with the address of the listener. The scope closes the listener. */
export const listen = (
  server: Net.Server,
  endpoint: Endpoint.Endpoint
): Effect.Effect<Endpoint.Endpoint, ListenFailure, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Endpoint.Endpoint, ListenFailure>((resume) => {
      // Later errors concern connections that the server cannot accept. The others go on.
      server.on(
        "error",
        (cause) => resume(Effect.fail(new ListenFailure({ address: Endpoint.format(endpoint), cause })))
      )
      server.listen(endpoint.port, endpoint.host, () => {
        const { address, port } = server.address() as Net.AddressInfo
        resume(Effect.succeed({ host: address, port }))
      })
    }),
    () => Effect.sync(() => server.close())
  )

/** The connections of this process. */
const live = new Set<Net.Socket>()

/** Resets every connection of a process that is about to exit. The kernel would end them with FIN. */
export const resetAll = (): void => {
  for (const socket of live) {
    // A connection whose only unsent packet is its FIN cannot be reset (EINVAL).
    const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
    if (isEnding || socket.connecting) socket.destroy()
    else socket.resetAndDestroy()
  }
}

const watch = (socket: Net.Socket): Net.Socket => {
  live.add(socket)
  return socket.once("close", () => live.delete(socket))
}

/** The addresses of both ends of a connection, as text. */
export const addressesOf = (socket: Net.Socket): { readonly peer: string; readonly local: string } => ({
  peer: addressOf(socket.remoteAddress, socket.remotePort),
  local: addressOf(socket.localAddress, socket.localPort)
})

const addressOf = (host: string | undefined, port: number | undefined): string =>
  host === undefined || port === undefined ? "unknown" : Endpoint.format({ host, port })
