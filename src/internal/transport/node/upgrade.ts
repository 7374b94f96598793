import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Net from "node:net"
import { type WebSocket, WebSocketServer } from "ws"
import type { Settings } from "../options.js"
import { maxFragments } from "./frameReader.js"
import { NodeTransport } from "./transport.js"

type Headers = Readonly<Record<string, string>>

/** Completes admitted upgrades by the handshake of `ws`. */
export class Upgrader {
  readonly #settings: Settings
  readonly #server: WebSocketServer
  /** The headers to add to an answer 101, by the request. */
  readonly #headers = new WeakMap<Http.IncomingMessage, Headers>()

  constructor(settings: Settings) {
    this.#settings = settings
    this.#server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      clientTracking: false,
      maxPayload: settings.maxMessageSize,
      maxFragments: maxFragments(settings.maxMessageSize)
    })
    this.#server.on("headers", (lines: Array<string>, request: Http.IncomingMessage) => {
      for (const [name, value] of Object.entries(this.#headers.get(request) ?? {})) lines.push(`${name}: ${value}`)
    })
  }

  /**
   * Answers 101 and returns the transport. Where `ws` refuses a handshake that the admission has let pass, `ws` answers
   * by an error and the result is undefined. The two agree in all known cases.
   */
  accept(
    request: Http.IncomingMessage,
    socket: Net.Socket,
    head: Buffer,
    headers: Headers
  ): NodeTransport | undefined {
    let accepted: NodeTransport | undefined
    this.#headers.set(request, headers)
    // `handleUpgrade` calls back before it returns; for an invalid handshake it never does.
    this.#server.handleUpgrade(request, socket, head, (ws: WebSocket) => {
      accepted = new NodeTransport(ws, "server", this.#settings)
      accepted.connected(socket)
    })
    return accepted
  }
}

/** Terminates what `accept` returns when the scope closes. */
export const acceptScoped = (
  accept: () => NodeTransport | undefined
): Effect.Effect<NodeTransport | undefined, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(accept), (transport) => transport?.terminate ?? Effect.void)
