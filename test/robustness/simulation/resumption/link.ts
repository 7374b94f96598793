import * as Address from "effect-wsmux/Address"
import { type CloseInfo, type Listener, type Transport, TypeId } from "effect-wsmux/Transport"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

export type Side = "client" | "server"

export const other = (side: Side): Side => side === "client" ? "server" : "client"

type Packet =
  | { readonly _tag: "Message"; bytes: Buffer }
  | { readonly _tag: "Close"; readonly code: number }

export interface Settings {
  /** The unsent bytes at which an end takes no more. */
  readonly capacity: number
  /** Decides whether a message that has not left is extended. */
  readonly mayExtend: () => boolean
  /** The code that the other end gets when an end gives the link up: pages cannot do so without a close frame. */
  readonly givesUp: Readonly<Record<Side, number>>
  /** The number of delivered messages in one direction after which the link is lost, and how. */
  readonly ambush: { readonly from: Side; readonly after: number; readonly lose: (link: Link) => void } | undefined
}

/** One WebSocket whose messages travel when the program says so. */
export class Link {
  readonly client: LinkEnd
  readonly server: LinkEnd
  readonly delivered = { client: 0, server: 0 }

  constructor(readonly name: string, readonly settings: Settings) {
    this.client = new LinkEnd(this, "client")
    this.server = new LinkEnd(this, "server")
  }

  /** Whether a packet can be delivered. */
  mayDeliver(from: Side): boolean {
    const sender = this[from]
    return sender.outbound.length > 0 && !sender.isFrozen && (sender.isVanishing || this[other(from)].isListening)
  }

  /** Delivers the oldest packet of one end. */
  deliver(from: Side): void {
    if (!this.mayDeliver(from)) return
    const sender = this[from]
    const packet = sender.depart()
    if (sender.isVanishing) return
    this[other(from)].arrive(packet)
    if (packet._tag === "Close") return
    this.delivered[from]++
    const { ambush } = this.settings
    if (ambush?.from === from && this.delivered[from] === ambush.after) ambush.lose(this)
  }

  /** Whether one of the two ends may wait for the other without end. */
  get isBroken(): boolean {
    return this.client.isVanishing || this.server.isVanishing
  }

  /** Loses what is under way. The given ends notice, and what the ends send later vanishes. */
  lose(...noticing: ReadonlyArray<Side>): void {
    for (const side of ["client", "server"] as const) {
      const end = this[side]
      end.isVanishing = true
      end.outbound.length = end.outboundBytes = 0
      end.isFrozen = false
    }
    for (const side of noticing) this[side].end({ code: 1006, reason: "" })
    for (const side of ["client", "server"] as const) this[side].wake()
  }

  /** Loses what is under way. Each end gets a close frame with its code, as from a proxy. */
  loseByFrames(codes: Readonly<Record<Side, number>>): void {
    this.lose()
    for (const side of ["client", "server"] as const) this[side].end({ code: codes[side], reason: "from between" })
  }
}

/** One end of a link. */
export class LinkEnd implements Transport {
  readonly [TypeId]: TypeId = TypeId
  readonly localAddress = Address.opaque("simulated")
  readonly remoteAddress = Address.opaque("simulated")
  readonly maxMessageSize = 4 * 1024 * 1024
  readonly ping = () => {}
  readonly outbound: Array<Packet> = []
  outboundBytes = 0
  /** Holds back what this end sends. */
  isFrozen = false
  /** Loses what this end sends. */
  isVanishing = false
  readonly #ended = Deferred.unsafeMake<void>(FiberId.none)
  #listener: Listener | undefined
  #end: CloseInfo | undefined
  #isClosing = false
  #isBlocked = false
  #received = 0

  constructor(readonly link: Link, readonly side: Side) {}

  get isListening(): boolean {
    return this.#listener !== undefined
  }

  get isOver(): boolean {
    return this.#end !== undefined
  }

  listen(listener: Listener): void {
    if (this.#listener !== undefined) throw new Error(`${this.link.name}: ${this.side} listens twice`)
    this.#listener = listener
    if (this.#end !== undefined) listener.onClose(this.#end)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (this.#isClosing || this.isOver) return
    const bytes = Buffer.concat(parts)
    this.outbound.push({ _tag: "Message", bytes })
    this.outboundBytes += bytes.length
  }

  extend(parts: ReadonlyArray<Uint8Array>): boolean {
    const last = this.outbound[this.outbound.length - 1]
    if (this.#isClosing || this.isOver || last?._tag !== "Message" || !this.link.settings.mayExtend()) return false
    const bytes = Buffer.concat(parts)
    last.bytes = Buffer.concat([last.bytes, bytes])
    this.outboundBytes += bytes.length
    return true
  }

  pollWritable(): boolean {
    if (this.isOver || this.#isClosing) return false
    this.#isBlocked = this.outboundBytes >= this.link.settings.capacity
    return !this.#isBlocked
  }

  receiveCount(): number {
    return this.#received
  }

  /** Part of a message arrives, and no more. */
  receivePart(): void {
    this.#received++
  }

  close(code: number, _reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.#isClosing && !this.isOver) this.outbound.push({ _tag: "Close", code })
      this.#isClosing = true
      return Deferred.await(this.#ended)
    }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(timeout),
      Effect.ensuring(Effect.sync(() => this.terminate())),
      Effect.asVoid
    )
  }

  depart(): Packet {
    const packet = this.outbound.shift()!
    if (packet._tag === "Message") this.outboundBytes -= packet.bytes.length
    this.wake()
    return packet
  }

  wake(): void {
    if (!this.#isBlocked || this.isOver || this.outboundBytes >= this.link.settings.capacity) return
    this.#isBlocked = false
    this.#listener?.onWritable()
  }

  /** Hands a packet to the listener, even after the end: an old socket may speak up late. */
  arrive(packet: Packet): void {
    this.#received++
    if (packet._tag === "Message") return this.#listener!.onMessage(new Uint8Array(packet.bytes))
    if (!this.#isClosing && packet.code !== 1006) this.outbound.push({ _tag: "Close", code: packet.code })
    this.#isClosing = true
    this.end({ code: packet.code, reason: "" })
  }

  /** Ends this end at once. The other end notices behind what is under way. */
  terminate(): void {
    if (this.isOver) return
    this.outbound.push({ _tag: "Close", code: this.link.settings.givesUp[this.side] })
    this.end({ code: 1006, reason: "" })
  }

  end(end: CloseInfo): void {
    if (this.isOver) return
    this.#end = end
    Deferred.unsafeDone(this.#ended, Effect.void)
    this.#listener?.onClose(end)
  }
}
