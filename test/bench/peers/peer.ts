import type { Source } from "../content.js"
import type { Settings } from "../options.js"

/** The server reads a stream to its end, and then answers. */
export interface Service {
  readonly take: (chunk: Uint8Array) => void
  readonly answer: () => Source
}

/** The work of the server on a stream. `echo` sends each chunk back at once. */
export type Role = "echo" | (() => Service)

/** Answers the role of the nth stream. Without roles the server keeps each stream and neither reads nor writes. */
export type Roles = "hold" | ((nth: number) => Role)

/**
 * A connection of the workloads. Each peer has loops of its own that suit it best, so no peer pays for an adapter per
 * chunk.
 */
export interface Client {
  /** Whether several streams at once share the connection. */
  readonly multiplexes: boolean
  /** Opens a stream, writes the request and the end, and reads the answer to its end. */
  readonly exchange: (request: Source, take: (chunk: Uint8Array) => void) => Promise<void>
  /**
   * Opens a stream, and sends the message each time it has come back, for this many milliseconds.
   */
  readonly pingPong: (message: Uint8Array, onRoundTrip: (ms: number) => boolean) => Promise<void>
  /** Opens and keeps a stream, and completes when the server has accepted it. */
  readonly hold: () => Promise<void>
}

export interface Peer {
  /** The configuration of the peer for the report. */
  readonly about: (settings: Settings) => string
  /** Listens on a free port of the loopback. */
  readonly listen: (roles: Roles, settings: Settings) => Promise<number>
  readonly connect: (url: string, settings: Settings) => Promise<Client>
}

/** Calls back with the time of each round trip. A message may come in parts. */
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

  /** Handles arrived bytes. */
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
