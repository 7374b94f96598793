import * as Http from "node:http"
import * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"

/** An agent whose connections are streams. They exist at once: until a connection is there, Node does not count it. */
export class StreamAgent extends Http.Agent {
  readonly #connect: () => Duplex

  constructor(connect: () => Duplex, options: Http.AgentOptions) {
    super(options)
    this.#connect = connect
  }

  override createConnection(): Duplex {
    return this.#connect()
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
    return Tls.connect({ ...options, socket: this.#connect() })
  }
}
