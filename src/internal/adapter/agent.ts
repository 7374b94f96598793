import * as Http from "node:http"
import * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"

/**
 * An agent whose connections are streams. Node's http client and its agents pass a connection on between listeners of
 * their own; one more makes sure that no error ends the process while a connection changes hands, or after an upgrade.
 *
 * Connections exist at once: until a connection is there, Node does not count it. */
export class StreamAgent extends Http.Agent {
  readonly #connect: () => Duplex

  constructor(connect: () => Duplex, options: Http.AgentOptions) {
    super(options)
    this.#connect = connect
  }

  override createConnection(): Duplex {
    return heard(this.#connect())
  }
}

/** The same, with TLS within the streams. */
export class SecureStreamAgent extends Https.Agent {
  readonly #connect: () => Duplex

  constructor(connect: () => Duplex, options: Https.AgentOptions) {
    super(options)
    this.#connect = connect
  }

  override createConnection(options: Tls.ConnectionOptions): Duplex {
    const socket = heard(this.#connect())
    try {
      return heard(Tls.connect({ ...options, socket }))
    } catch (error) {
      socket.destroy() // an option of TLS makes no sense
      throw error
    }
  }
}

const heard = <D extends Duplex>(duplex: D): D => duplex.on("error", () => {})
