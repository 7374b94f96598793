import type * as Frame from "effect-wsmux/Frame"

/** What one side of a stream has done so far, by its frames alone. */
interface Side {
  /** Credit left to send with; undefined before the stream is accepted. */
  credit: number | undefined
  sent: number
  granted: number
  ended: boolean
}

const side = (): Side => ({ credit: undefined, sent: 0, granted: 0, ended: false })

/**
 * The rules of the wire, told from the frames of both sides and nothing else: `see` throws at the first frame that a
 * correct peer must not send. `sizes` are the windows of the two sides.
 */
export class WireRules {
  readonly #sizes: Record<"client" | "server", number>
  readonly #streams: Map<number, Record<"client" | "server", Side>>

  constructor(
    sizes: Record<"client" | "server", number>,
    streams = new Map<number, Record<"client" | "server", Side>>()
  ) {
    this.#sizes = sizes
    this.#streams = streams
  }

  /** Whether a side may send this frame now. */
  allow(from: "client" | "server", frame: Frame.Frame): boolean {
    try {
      new WireRules(this.#sizes, structuredClone(this.#streams)).see(from, frame)
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
    rule(stream !== undefined, "a stream that nobody opened")
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
          // the acceptor believes that the opener's window equals its own
          other.credit = own.credit = frame.credit
          return
        }
        own.granted += frame.credit
        rule(own.granted <= other.sent + this.#topUp(from, opener), "more credit than was used")
        other.credit += frame.credit
        return
      case "Fin":
        rule(!own.ended, "ended twice")
        rule(own.credit !== undefined, "ended before it was accepted")
        own.ended = true
    }
  }

  /** An opener whose window is larger than the acceptor believes may say so. */
  #topUp(from: "client" | "server", opener: "client" | "server"): number {
    const [client, server] = [this.#sizes.client, this.#sizes.server]
    if (from !== opener) return 0
    return Math.max(0, from === "client" ? client - server : server - client)
  }
}
