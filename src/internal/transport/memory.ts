import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Address } from "../../Address.js"
import { type Listener, type Transport, TypeId } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { concatBytes } from "./concatBytes.js"
import { ListenerBuffer, tooBig } from "./listenerBuffer.js"

type Side = "client" | "server"

type Packet = Content & {
  /** The time of arrival in milliseconds. */
  readonly due: number
}

type Content =
  | { readonly _tag: "Message"; readonly bytes: Uint8Array }
  | { readonly _tag: "Ping"; readonly answered: (() => void) | undefined }
  | { readonly _tag: "Pong"; readonly answered: (() => void) | undefined }
  | { readonly _tag: "Close"; readonly code: number; readonly reason: string }

export interface Settings {
  readonly capacity: number
  readonly latency: Duration.Duration
  readonly maxMessageSize: number
  readonly ping: boolean
  /** The monotonic time in milliseconds. */
  readonly now: () => number
}

/** Two ends and the packets between them. */
export class Link {
  readonly client: MemoryTransport
  readonly server: MemoryTransport
  readonly #settings: Settings

  constructor(settings: Settings, addresses: Record<Side, Address>) {
    this.#settings = settings
    this.client = new MemoryTransport(settings, addresses.client, addresses.server)
    this.server = new MemoryTransport(settings, addresses.server, addresses.client)
  }

  cut(): void {
    this.client.lose()
    this.server.lose()
  }

  close(code: number, reason: string): void {
    this.client.end(code, reason)
    this.server.end(code, reason)
  }

  stall(from: Side): void {
    this[from].stalled = true
  }

  resume(from: Side): void {
    this[from].stalled = false
    this[from].departures.notifyAll()
  }

  /** Delivers the packets of one side to the other, in order. */
  deliver(from: Side): Effect.Effect<never> {
    const sender = this[from]
    const receiver = from === "client" ? this.server : this.client
    const carry = Effect.suspend(() => {
      const packet = sender.depart()
      if (packet !== undefined) receiver.arrive(packet)
      return Effect.yieldNow()
    })
    return sender.departures.waitUntil(() => sender.mayDepart() ? Effect.succeed(sender.nextDue()) : undefined).pipe(
      Effect.flatMap((due) => {
        const wait = due - this.#settings.now()
        return wait > 0 ? Effect.delay(carry, Duration.millis(wait)) : carry
      }),
      Effect.forever
    )
  }
}

class MemoryTransport implements Transport {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  readonly ping: Transport["ping"]
  readonly pong: Transport["pong"]
  /** Notified when a packet can depart. */
  readonly departures = new Notify()
  stalled = false
  readonly #settings: Settings
  readonly #listeners: ListenerBuffer
  readonly #outbound: Array<Packet> = []
  #outboundBytes = 0
  #inbound = 0
  #blocked = false
  #closing = false

  constructor(
    settings: Settings,
    readonly localAddress: Address,
    readonly remoteAddress: Address
  ) {
    this.maxMessageSize = settings.maxMessageSize
    this.#settings = settings
    this.#listeners = new ListenerBuffer(settings.maxMessageSize, () => this.#terminate())
    this.ping = settings.ping
      ? (answered) => {
        this.#post({ _tag: "Ping", answered })
        this.#post({ _tag: "Pong", answered: undefined })
      }
      : undefined
    this.pong = settings.ping ? () => this.#post({ _tag: "Pong", answered: undefined }) : undefined
  }

  listen(listener: Listener): void {
    this.#listeners.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (this.#closing) return
    const bytes = concatBytes(parts)
    this.#outboundBytes += bytes.byteLength
    this.#post({ _tag: "Message", bytes })
  }

  pollWritable(): boolean {
    if (this.#listeners.ended || this.#closing) return false
    this.#blocked = this.#outboundBytes >= this.#settings.capacity
    return !this.#blocked
  }

  receiveCount(): number {
    return this.#inbound
  }

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    const start = () => {
      if (!this.#closing) this.#post({ _tag: "Close", code, reason })
      this.#closing = true
    }
    return this.#listeners.closing(start, timeout, Effect.sync(() => this.#terminate()))
  }

  nextDue(): number {
    return this.#outbound[0]?.due ?? 0
  }

  mayDepart(): boolean {
    return this.#outbound.length > 0 && !this.stalled
  }

  depart(): Packet | undefined {
    if (!this.mayDepart()) return undefined
    const packet = this.#outbound.shift()!
    if (packet._tag === "Message") {
      this.#outboundBytes -= packet.bytes.byteLength
      if (this.#blocked && this.#outboundBytes < this.#settings.capacity) {
        this.#blocked = false
        this.#listeners.writable()
      }
    }
    return packet
  }

  arrive(packet: Packet): void {
    this.#inbound++
    switch (packet._tag) {
      case "Message":
        if (packet.bytes.byteLength > this.maxMessageSize) {
          this.#post({ _tag: "Close", code: 1009, reason: "message too big" })
          this.#closing = true
          return this.#listeners.close(tooBig)
        }
        return this.#listeners.receiver.onMessage(packet.bytes)
      case "Ping":
        return this.#post({ _tag: "Pong", answered: packet.answered })
      case "Pong":
        return packet.answered?.()
      case "Close":
        if (packet.code !== 1006) this.#post({ _tag: "Close", code: packet.code, reason: packet.reason })
        this.#closing = true
        return this.end(packet.code, packet.reason)
    }
  }

  end(code: number, reason: string): void {
    this.#listeners.close({ code, reason })
  }

  /** Loses the connection and all packets under way. */
  lose(): void {
    this.#outbound.length = 0
    this.end(1006, "")
  }

  /** Ends this side at once. The other side receives the end behind the packets under way. */
  #terminate(): void {
    if (this.#listeners.ended) return
    this.#closing = false
    this.#post({ _tag: "Close", code: 1006, reason: "" })
    this.#closing = true
    this.end(1006, "")
  }

  #post(content: Content): void {
    if (this.#listeners.ended || this.#closing) return
    const { latency, now } = this.#settings
    this.#outbound.push({ ...content, due: now() + Duration.toMillis(latency) })
    this.departures.notifyOne()
  }
}
