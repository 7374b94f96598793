import type * as Frame from "../../src/internal/wire/frame.js"
import type { Hello } from "../../src/internal/wire/record.js"
import type { Message } from "./records.js"

/** The state of one end of a stream, derived from its frames alone. */
interface Side {
  /** The remaining send credit. */
  credit: number
  sent: number
  granted: number
  ended: boolean
  stopped: boolean
}

interface Stream extends Sides<Side> {
  isAccepted: boolean
  /** The window of an opener whose peer knows it. Undefined on Go's wire, where the acceptor's window counts. */
  readonly window: number | undefined
  /** Whether the opener may send before the stream is accepted. */
  readonly isEarly: boolean
}

const side = (credit = 0): Side => ({ credit, sent: 0, granted: 0, ended: false, stopped: false })

type Sides<A> = Record<"client" | "server", A>

/**
 * Checks the rules of the wire by the messages of both ends alone. `see` throws at the first message that a correct
 * peer must not send. `sizes` are the windows of the two ends, and `growth` is the number of bytes by which windows may
 * grow.
 */
export class WireRules {
  readonly #sizes: Sides<number>
  readonly #growth: Sides<number>
  readonly #streams: Map<number, Stream>
  readonly #hellos: Partial<Sides<Hello>>
  readonly #hasSent: Sides<boolean>
  readonly #drains: Sides<boolean>

  constructor(
    sizes: Sides<number>,
    growth: Sides<number> = { client: 0, server: 0 },
    streams = new Map<number, Stream>(),
    hellos: Partial<Sides<Hello>> = {},
    hasSent: Sides<boolean> = { client: false, server: false },
    drains: Sides<boolean> = { client: false, server: false }
  ) {
    this.#sizes = sizes
    this.#growth = growth
    this.#streams = streams
    this.#hellos = hellos
    this.#hasSent = hasSent
    this.#drains = drains
  }

  /** Whether both ends speak the dialect. */
  get isNative(): boolean {
    return this.#hellos.client !== undefined && this.#hellos.server !== undefined
  }

  /** Whether an end may send this frame now. */
  allow(from: "client" | "server", frame: Frame.Frame): boolean {
    try {
      const copy = structuredClone([this.#streams, this.#hellos, this.#hasSent, this.#drains] as const)
      new WireRules(this.#sizes, this.#growth, ...copy).see(from, frame)
      return true
    } catch {
      return false
    }
  }

  see(from: "client" | "server", message: Message): void {
    const about = "id" in message ? `${message._tag} ${message.id}` : message._tag
    const rule = (holds: boolean, text: string) => {
      if (!holds) throw new Error(`${from} ${about}: ${text}`)
    }
    const isFirst = !this.#hasSent[from]
    this.#hasSent[from] = true
    switch (message._tag) {
      case "Malformed":
      case "Unknown":
        return rule(false, "malformed")
      case "Hello":
        rule(isFirst, "a HELLO behind other messages")
        this.#hellos[from] = message
        return
      case "GoAway":
        this.#drains[from] = true
        return rule(this.isNative, "a record without the dialect")
      case "Ping":
      case "Pong":
        return rule(this.isNative, "a record without the dialect")
      case "Syn":
        return this.#recvOpen(rule, from, message.id, undefined)
      case "Open":
        rule(this.isNative, "a record without the dialect")
        return this.#recvOpen(rule, from, message.id, message.window)
    }
    const { id } = message
    const opener = id % 2 === 1 ? "client" : "server"
    const stream = this.#streams.get(id)
    rule(stream !== undefined, "a stream without a SYN")
    const [own, other] = from === "client" ? [stream!.client, stream!.server] : [stream!.server, stream!.client]
    const { isAccepted, isEarly, window } = stream!
    switch (message._tag) {
      case "Dat":
        rule(isAccepted || (isEarly && from === opener), "bytes before the stream is accepted")
        rule(message.payload.byteLength > 0, "no bytes")
        rule(!own.ended, "bytes behind the end")
        rule(message.payload.byteLength <= own.credit, "more bytes than credit")
        own.credit -= message.payload.byteLength
        own.sent += message.payload.byteLength
        return
      case "Ack":
        if (!isAccepted) {
          rule(from !== opener, "accepts its own stream")
          rule(!own.ended, "accepts what it has refused")
          stream!.isAccepted = true
          other.credit += message.credit
          // a Go acceptor takes the window of the opener to be as large as its own
          own.credit = window ?? message.credit
          return
        }
        own.granted += message.credit
        rule(own.granted <= other.sent + this.#topUp(from, opener) + this.#growth[from], "more credit than was used")
        other.credit += message.credit
        return
      case "Fin":
        rule(!own.ended, "ended twice")
        // a FIN of the acceptor in place of its ACK is a refusal
        rule(isAccepted || from !== opener || isEarly, "ended before it was accepted")
        own.ended = true
        return
      case "Reset":
        rule(this.isNative, "a record without the dialect")
        rule(!own.ended, "ended twice")
        own.ended = true
        return
      case "Stop":
        rule(this.isNative, "a record without the dialect")
        rule(!own.stopped, "stopped twice")
        rule(isAccepted || from === opener, "stopped before it was accepted")
        own.stopped = true
    }
  }

  /** Whether the acceptor has refused the stream. */
  isRefused(id: number): boolean {
    const stream = this.#streams.get(id)
    const acceptor = id % 2 === 1 ? stream?.server : stream?.client
    return acceptor !== undefined && acceptor.ended && !stream!.isAccepted
  }

  #recvOpen(
    rule: (holds: boolean, text: string) => void,
    from: "client" | "server",
    id: number,
    window: number | undefined
  ): void {
    rule((id % 2 === 1 ? "client" : "server") === from, "an id of the other side")
    rule(!this.#streams.has(id), "opened twice")
    rule(!this.#drains[from], "opened behind its own GOAWAY")
    const early = window === undefined ? 0 : this.#hellos[from === "client" ? "server" : "client"]?.earlyCredit
    const stream = {
      isAccepted: false,
      isEarly: window !== undefined,
      window: window ?? (this.isNative ? this.#hellos[from]?.window : undefined)
    }
    const own = side(early === 0 ? 0 : early?.perStream)
    this.#streams.set(id, {
      ...stream,
      ...from === "client" ? { client: own, server: side() } : { client: side(), server: own }
    })
  }

  /** Whether the opener may send credit first, since its window is larger than that of the acceptor. */
  #topUp(from: "client" | "server", opener: "client" | "server"): number {
    const [client, server] = [this.#sizes.client, this.#sizes.server]
    if (from !== opener || this.isNative) return 0
    return Math.max(0, from === "client" ? client - server : server - client)
  }
}
