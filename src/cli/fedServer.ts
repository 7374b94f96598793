import * as Http from "node:http"
import * as Https from "node:https"

/** How long a client may take for its TLS handshake and its request, as at a `NodeTransportServer` that listens. */
const timeout = 10_000

/**
 * Makes a server for upgrade requests without a port, for a process that gets its connections from another process.
 * The caller passes each on by `server.emit("connection", socket)`.
 */
export const make = (tls?: { readonly cert: string; readonly key: string }, millis = timeout): Http.Server => {
  const options = { headersTimeout: millis, connectionsCheckingInterval: 1000 }
  const upgradeOnly: Http.RequestListener = (_request, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket" }).end("this is a WebSocket server\n")
  }
  const server = tls === undefined
    ? Http.createServer(options, upgradeOnly)
    : Https.createServer({ ...tls, ...options, handshakeTimeout: millis }, upgradeOnly)
  server.emit("listening") // Node starts to check the time-outs of requests at this event
  return server
}
