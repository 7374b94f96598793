import * as Effect from "effect/Effect"
import * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { reset } from "../internal/tcp/tcpEnds.js"
import { answerHeaders } from "./headers.js"

/** Answers an upgrade request as the agent did. Later bytes are those of the other protocol. */
export const writeAnswer = (client: Duplex, answer: Http.IncomingMessage): void => {
  const headers = answerHeaders(answer)
  const lines = [`HTTP/1.1 101 ${answer.statusMessage || Http.STATUS_CODES[101]!}`]
  for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]!}: ${headers[at + 1]!}`)
  client.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1") // as Node has read them
}

/**
 * Whether a request asks for HTTP/2 by an upgrade. Clients such as Java's ask so beside any request, with a body, too.
 * An agent that agreed would hide all further requests from the relay.
 */
export const isForHttp2 = ({ headers }: Http.IncomingMessage): boolean =>
  (headers.upgrade ?? "").split(",").some((protocol) => protocol.trim().toLowerCase() === "h2c")

/**
 * Serves an upgrade request as an ordinary one, since a server may ignore an upgrade (RFC 9110, 7.8). The connection
 * serves no further request.
 */
export const ignoreUpgrade = (
  server: Http.Server,
  { httpVersion, method, rawHeaders, url }: Http.IncomingMessage,
  socket: Net.Socket,
  head: Buffer
): void => {
  const lines = [`${method} ${url} HTTP/${httpVersion}`, "connection: close"]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (/^(connection|upgrade|http2-settings)$/i.test(rawHeaders[at]!)) continue
    lines.push(`${rawHeaders[at]!}: ${rawHeaders[at + 1]!}`)
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), head]))
  server.emit("encrypted" in socket ? "secureConnection" : "connection", socket)
}

/** Bytes that have passed. */
interface Counters {
  in: number
  out: number
}

/**
 * Joins an upgraded connection with the stream to its agent. Bytes, back-pressure and ends pass in both directions. A
 * loss on one side is a loss on the other. Completes when both are closed.
 */
export const joinRaw = (client: Duplex, stream: Duplex, passed: Counters): Effect.Effect<void> =>
  Effect.async((resume) => {
    const lose = (other: Duplex) => () =>
      other instanceof Net.Socket
        ? reset(other, false, () => {})
        : void other.destroy(new Error("the other side has gone"))
    let open = [client, stream].filter((duplex) => !duplex.closed).length
    const onClose = () => {
      if (--open === 0) resume(Effect.void)
    }
    client.on("data", (chunk) => void (passed.in += chunk.length))
    stream.on("data", (chunk) => void (passed.out += chunk.length))
    client.on("error", lose(stream)).on("close", onClose)
    stream.on("error", lose(client)).on("close", onClose)
    // a close without an end is a loss, too
    client.on("close", () => client.readableEnded || lose(stream)())
    stream.on("close", () => stream.readableEnded || lose(client)())
    client.pipe(stream)
    stream.pipe(client)
    // one side may have closed before
    if (client.destroyed) lose(stream)()
    if (stream.destroyed) lose(client)()
    if (open === 0) resume(Effect.void)
    return Effect.sync(() => {
      lose(client)()
      lose(stream)()
    })
  })

/** A response on a connection that Node has left to its upgrade: for answers that refuse the upgrade. */
export const responseOn = (request: Http.IncomingMessage, socket: Duplex): Http.ServerResponse => {
  const response = new Http.ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as Net.Socket)
  // a client may leave its half open, and Node no longer checks the time-outs of this connection
  response.on("finish", () => (socket as Net.Socket).destroySoon())
  return response
}
