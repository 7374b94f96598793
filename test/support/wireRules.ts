import type * as Frame from "../../src/internal/wire/frame.js"

/** The state of one end of a stream, derived from its frames alone. */
interface Side {
  /** The remaining send credit, undefined before the stream is accepted. */
  credit: number | undefined
  sent: number
  granted: number
  ended: boolean
}

const side = (): Side => ({ credit: undefined, sent: 0, granted: 0, ended: false })

type Sides<A> = Record<"client" | "server", A>

/**
 * Checks the rules of the wire by the frames of both ends alone. `see` throws at the first frame that a correct peer
 * must not send. `sizes` are the windows of the two ends, and `growth` is the number of bytes by which windows may
 * grow.
 */
export class WireRules {
  readonly #sizes: Sides<number>
  readonly #growth: Sides<number>
  readonly #streams: Map<number, Sides<Side>>

  constructor(
    sizes: Sides<number>,
    growth: Sides<number> = { client: 0, server: 0 },
    streams = new Map<number, Sides<Side>>()
  ) {
    this.#sizes = sizes
    this.#growth = growth
    this.#streams = streams
  }

  /** Whether an end may send this frame now. */
  allow(from: "client" | "server", frame: Frame.Frame): boolean {
    try {
      new WireRules(this.#sizes, this.#growth, structuredClone(this.#streams)).see(from, frame)
      return true
    } catch {
      return false
    }
  }

  see(from: "client" | "server", frame: Frame.Frame): void {
    const rule = (holds: boolean, text: string) => {
      if (!holds) throw new Error(`${from} ${frame._tag} ${frame.id}: ${text}`)
    }
    const opener = frame.id % 2 === 1 ? "client" : "server"
    if (frame._tag === "Syn") {
      rule(opener === from, "an id of the other side")
      rule(!this.#streams.has(frame.id), "opened twice")
      this.#streams.set(frame.id, { client: side(), server: side() })
      return
    }
    const stream = this.#streams.get(frame.id)
    rule(stream !== undefined, "a stream without a SYN")
    const [own, other] = from === "client" ? [stream!.client, stream!.server] : [stream!.server, stream!.client]
    switch (frame._tag) {
      case "Dat":
        rule(own.credit !== undefined, "bytes before the stream is accepted")
        rule(frame.payload.byteLength > 0, "no bytes")
        rule(!own.ended, "bytes behind the end")
        rule(frame.payload.byteLength <= own.credit!, "more bytes than credit")
        own.credit! -= frame.payload.byteLength
        own.sent += frame.payload.byteLength
        return
      case "Ack":
        if (other.credit === undefined) {
          rule(from !== opener, "accepts its own stream")
          rule(!own.ended, "accepts what it has refused")
          // the acceptor takes the window of the opener to be as large as its own
          other.credit = own.credit = frame.credit
          return
        }
        own.granted += frame.credit
        rule(own.granted <= other.sent + this.#topUp(from, opener) + this.#growth[from], "more credit than was used")
        other.credit += frame.credit
        return
      case "Fin":
        rule(!own.ended, "ended twice")
        // a FIN of the acceptor in place of its ACK is a refusal
        rule(own.credit !== undefined || from !== opener, "ended before it was accepted")
        own.ended = true
    }
  }

  /** Whether the acceptor has refused the stream. */
  isRefused(id: number): boolean {
    const stream = this.#streams.get(id)
    const acceptor = id % 2 === 1 ? stream?.server : stream?.client
    return acceptor !== undefined && acceptor.ended && acceptor.credit === undefined
  }

  /** Whether the opener may send credit first, since its window is larger than that of the acceptor. */
  #topUp(from: "client" | "server", opener: "client" | "server"): number {
    const [client, server] = [this.#sizes.client, this.#sizes.server]
    if (from !== opener) return 0
    return Math.max(0, from === "client" ? client - server : server - client)
  }
}
