import type { Source } from "../content.js"
import type { Settings } from "../options.js"

/** What the server does with a stream: reads it to its end, and then answers. */
export interface Service {
  readonly take: (chunk: Uint8Array) => void
  readonly answer: () => Source
}

/** What the server does with a stream; `echo` sends back at once what comes. */
export type Role = "echo" | (() => Service)

/** Finds the role of the nth stream; or all are kept, and nobody reads or writes. */
export type Roles = "hold" | ((nth: number) => Role)

/**
 * A connection, as the workloads use it. Each peer writes these loops in the way that is best for it, so that none pays
 * for an adapter per chunk.
 */
export interface Client {
  /** Whether several streams at once share the connection. */
  readonly multiplexes: boolean
  /** Opens a stream, writes the request and the end, and reads the answer to its end. */
  readonly exchange: (request: Source, take: (chunk: Uint8Array) => void) => Promise<void>
  /**
   * Opens a stream, and sends the message whenever it has come back, for as long as it is told to (by milliseconds).
   */
  readonly pingPong: (message: Uint8Array, onRoundTrip: (ms: number) => boolean) => Promise<void>
  /** Opens a stream, and keeps it. Completes when the server has it, too. */
  readonly hold: () => Promise<void>
}

export interface Peer {
  /** Its configuration, as the report states it. */
  readonly about: (settings: Settings) => string
  /** Listens on a free port of the loopback. */
  readonly listen: (roles: Roles, settings: Settings) => Promise<number>
  readonly connect: (url: string, settings: Settings) => Promise<Client>
}

/** Calls back with the time of each round trip; the bytes of a message may come in parts. */
export class PingPong {
  readonly #message: Uint8Array
  readonly #onRoundTrip: (ms: number) => boolean
  #start = performance.now()
  #missing: number

  constructor(message: Uint8Array, onRoundTrip: (ms: number) => boolean) {
    this.#message = message
    this.#onRoundTrip = onRoundTrip
    this.#missing = message.length
  }

  /** What to do now that these bytes have come. */
  take(chunk: Uint8Array): "wait" | "again" | "stop" {
    const came = this.#message.length - this.#missing
    if (Buffer.compare(chunk, this.#message.subarray(came, came + chunk.length)) !== 0) {
      throw new Error("a message came back changed")
    }
    this.#missing -= chunk.length
    if (this.#missing > 0) return "wait"
    const now = performance.now()
    const again = this.#onRoundTrip(now - this.#start)
    this.#missing = this.#message.length
    this.#start = now
    return again ? "again" : "stop"
  }
}
