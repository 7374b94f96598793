import * as Http from "node:http"
import * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"

/** `http.request` hands its request to this method of an agent. `@types/node` leaves the method out. */
const { addRequest } = Http.Agent.prototype as unknown as {
  readonly addRequest: (this: Http.Agent, request: Http.ClientRequest, options: unknown) => void
}

/**
 * An HTTP agent whose connections are streams. Node hands a connection from one owner's error listener to the next. The
 * agent adds a listener of its own, so that an error between two owners, or after an upgrade, does not end the process.
 *
 * The agent makes connections synchronously, since Node does not count a connection that is still pending.
 *
 * A request goes on with its body when the response is complete before the body. See `passDrain`.
 */
export class StreamAgent extends Http.Agent {
  readonly #connect: () => Duplex

  constructor(connect: () => Duplex, options: Http.AgentOptions) {
    super(options)
    this.#connect = connect
  }

  override createConnection(): Duplex {
    return withErrorListener(this.#connect())
  }

  addRequest(request: Http.ClientRequest, options: unknown): void {
    addRequest.call(this, passDrain(request), options)
  }
}

/** The same for HTTPS, with TLS within the streams. */
export class SecureStreamAgent extends Https.Agent {
  readonly #connect: () => Duplex

  constructor(connect: () => Duplex, options: Https.AgentOptions) {
    super(options)
    this.#connect = connect
  }

  override createConnection(options: Tls.ConnectionOptions): Duplex {
    const socket = withErrorListener(this.#connect())
    try {
      return withErrorListener(Tls.connect({ ...options, socket }))
    } catch (error) {
      socket.destroy() // TLS refused an option
      throw error
    }
  }

  addRequest(request: Http.ClientRequest, options: unknown): void {
    addRequest.call(this, passDrain(request), options)
  }
}

const withErrorListener = <D extends Duplex>(duplex: D): D => duplex.on("error", () => {})

/**
 * Emits `drain` at a request when its connection has drained and Node does not. Once a response is complete, Node
 * (`_http_client`, 20 to 26) ignores that its connection drains. A body that waits for `drain` would wait without end.
 */
const passDrain = (request: Http.ClientRequest): Http.ClientRequest =>
  request.once("socket", (socket) => {
    // Node's own listener comes first: where Node has emitted, either nothing waits or the connection is full again.
    const pass = () => {
      if (request.writableNeedDrain && !socket.writableNeedDrain) request.emit("drain")
    }
    socket.on("drain", pass)
    request.once("close", () => socket.off("drain", pass))
  })
