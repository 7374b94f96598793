import * as Http from "node:http"
import * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"

/**
 * An HTTP agent whose connections are streams. Node hands a connection from one owner's error listener to the next. The
 * agent adds a listener of its own, so that an error between two owners, or after an upgrade, does not end the process.
 *
 * The agent makes connections synchronously, since Node does not count a connection that is still pending.
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
}

const withErrorListener = <D extends Duplex>(duplex: D): D => duplex.on("error", () => {})
