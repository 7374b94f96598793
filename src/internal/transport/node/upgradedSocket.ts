import { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { Socket, SocketError } from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WebSocket } from "ws"
import type { Transport } from "../../../Transport.js"
import type { Settings } from "../options.js"
import * as platformSocket from "../platformSocket.js"
import { extrasOf } from "../webSocketExtras.js"
import { NodeTransport } from "./transport.js"
import { tcpOf, upgradedTo } from "./wsInternals.js"

/**
 * Makes a transport over the platform `Socket` of an upgraded request.
 *
 * The package `ws` notes the WebSocket at the TCP socket of the request, which tells two facts: the transport can use
 * that WebSocket as soon as the socket is open, and this end is the server. Any other WebSocket is left to the
 * portable transport.
 */
export const fromSocket = (
  socket: Socket,
  settings: Settings
): Effect.Effect<Transport, SocketError, Scope.Scope> =>
  Effect.flatMap(Effect.serviceOption(HttpServerRequest), (request) => {
    const tcp = request._tag === "Some" ? (request.value.source as { readonly socket?: object }).socket : undefined
    const portable = platformSocket.portableAdopter(settings)
    return platformSocket.fromSocket(
      socket,
      settings,
      tcp === undefined ? portable : {
        watchUpgrade: () => watchUpgrade(tcp),
        adopt: (ws) =>
          Effect.suspend((): ReturnType<platformSocket.Adopter["adopt"]> =>
            upgradedTo(tcp) === ws && extrasOf(ws) !== undefined ? adopt(ws, settings) : portable.adopt(ws)
          )
      }
    )
  })

/** Returns the transport of a WebSocket of `ws` that this process has accepted. */
const adopt = (ws: unknown, settings: Settings): Effect.Effect<NodeTransport> => {
  const transport = new NodeTransport(ws as WebSocket, "server", settings)
  const tcp = tcpOf(ws as WebSocket)
  if (tcp !== undefined) transport.connected(tcp) // without the TCP socket the transport works, with unknown addresses
  return Effect.as(transport.logSlowPath, transport)
}

/**
 * Returns how to ask for the WebSocket to which the TCP socket was upgraded since. Only an upgrade in this very step
 * is that of the platform socket which runs now.
 */
const watchUpgrade = (tcp: object): () => globalThis.WebSocket | undefined => {
  let isOver = upgradedTo(tcp) !== undefined
  queueMicrotask(() => {
    isOver = true
  })
  return () => {
    const ws = isOver ? undefined : upgradedTo(tcp)
    return extrasOf(ws) === undefined ? undefined : ws as globalThis.WebSocket
  }
}
