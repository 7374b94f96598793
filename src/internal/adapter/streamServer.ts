import * as Http from "node:http"
import type * as Net from "node:net"
import { type Address, format } from "../../Address.js"

/**
 * An `http.Server` without a port. Streams are given to it as connections. `listen` only emits `listening`, which makes
 * Node check requests against its time-outs. `close` stops that.
 */
export class StreamServer extends Http.Server {
  readonly #address: Address

  constructor(address: Address, options: Http.ServerOptions) {
    super(options)
    this.#address = address
  }

  override listen(...args: ReadonlyArray<unknown>): this {
    const done = args.at(-1)
    if (typeof done === "function") this.once("listening", () => done())
    queueMicrotask(() => this.emit("listening"))
    return this
  }

  override address(): Net.AddressInfo | string {
    return this.#address._tag === "TcpAddress"
      ? { address: this.#address.hostname, port: this.#address.port, family: "IPv4" }
      : format(this.#address)
  }
}
