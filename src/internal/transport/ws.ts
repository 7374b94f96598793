import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import type * as Stream from "node:stream"
import type { WebSocket } from "ws"
import type { Address } from "../../Address.js"
import { opaque, tcp, unix } from "../../Address.js"
import { type Listener, type Transport, TypeId, type UpgradeAnswer } from "../../Transport.js"
import { WaitList } from "../waitList.js"
import { concat } from "./concat.js"
import { Slot } from "./slot.js"
import { readIntoSharedBuffer } from "./socketReads.js"
import { type Fault, WsReceiver } from "./wsReceiver.js"
import { ping, pong, WsSender } from "./wsSender.js"

export interface Settings {
  readonly watermark: number
  readonly maxMessageSize: number
}

/**
 * A transport over a `WebSocket` of the package `ws`. It listens from its construction on, so nothing is missed, and knows
 * the TCP socket below, since only that tells what is on its way in and out.
 */
export class WsTransport implements Transport {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  localAddress: Address = opaque("unconnected")
  remoteAddress: Address = opaque("unconnected")
  /** Set by the end that dialled. */
  upgrade: UpgradeAnswer | undefined
  readonly #ws: WebSocket
  readonly #watermark: number
  readonly #slot: Slot
  readonly #leavers = new WaitList()
  #socket: Net.Socket | undefined
  #sender: WsSender | undefined
  #receiver: WsReceiver | undefined
  #cause: unknown
  #signs = 0
  #blocked = false
  /** Pings that want to know when they are answered, oldest first. */
  readonly #asked: Array<{ readonly payload: string; readonly answered: () => void }> = []
  #asking = 0

  constructor(ws: WebSocket, settings: Settings) {
    this.#ws = ws
    this.#watermark = settings.watermark
    this.maxMessageSize = settings.maxMessageSize
    this.#slot = new Slot(settings.maxMessageSize, () => this.#close(1008, "nobody listens"))
    ws.binaryType = "nodebuffer" // whatever whoever made it had set
    ws.on("message", (data: Buffer, isBinary: boolean) => {
      this.#signs++
      if (this.#cause !== undefined) return // behind what was not delivered
      if (!isBinary) return this.#slot.text()
      if (data.byteLength <= this.maxMessageSize) return this.#slot.message(data)
      // The package stops it earlier, unless somebody else made the socket without a limit.
      this.#cause ??= new RangeError("message too big")
      this.#close(1009, "message too big")
    })
    ws.on("ping", this.#onSign)
    ws.on("pong", (payload: Buffer) => {
      this.#signs++
      this.#answer(payload.toString())
    })
    ws.on("error", this.#onError)
    ws.on("close", (code: number, reason: Buffer) => {
      this.#end(code, reason.toString())
      this.#leavers.wakeAll()
    })
    if (ws.readyState === 3) this.#end(1006, "")
    if (ws.readyState === 0) ws.once("open", this.#usePackage)
    else this.#usePackage()
  }

  /** Tells the transport of the socket that its WebSocket is established over. */
  connected(socket: Net.Socket): void {
    this.#socket = socket
    socket.on("error", this.#onError) // the package keeps it to itself
    // An extension would have to have its way with every message.
    if (this.#ws.extensions === "") {
      this.#sender = new WsSender(this.#ws, socket, this.#isClient, this.#onSent)
    }
    const receiver = this.#receiver
    if (receiver !== undefined) readIntoSharedBuffer(socket, (bytes) => receiver.read(bytes))
    this.localAddress = toAddress(socket.localAddress, socket.localPort)
    this.remoteAddress = toAddress(socket.remoteAddress, socket.remotePort)
  }

  listen(listener: Listener): void {
    this.#slot.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (!this.#isOpen()) return
    if (this.#sender === undefined) this.#ws.send(concat(parts), this.#onSent)
    else this.#sender.send(parts)
  }

  isWritable(): boolean {
    if (!this.#isOpen()) return false
    this.#blocked = (this.#sender?.unsent ?? this.#ws.bufferedAmount) >= this.#watermark
    return !this.#blocked
  }

  activity(): number {
    return (this.#socket?.bytesRead ?? 0) + this.#signs
  }

  ping(answered?: () => void): void {
    if (!this.#isOpen()) return
    const payload = answered === undefined ? "" : String(++this.#asking)
    if (answered !== undefined && this.#asked.push({ payload, answered }) > maxAsked) this.#asked.shift()
    if (this.#sender === undefined) this.#ws.ping(payload, undefined, ignoreFailure)
    else this.#sender.control(ping, Buffer.from(payload))
    this.pong()
  }

  pong(): void {
    if (!this.#isOpen()) return
    if (this.#sender === undefined) this.#ws.pong(ignoreFailure)
    else this.#sender.control(pong, empty)
  }

  /**
   * Reads before the parser of the package does, if it is one that we know. And listens to it: the package tells of the
   * peer's close frame when TCP has ended, too, which a peer may leave open, or reset. But the frame is the end. Without its
   * parser we hear of it later, and of a reset instead.
   */
  readonly #usePackage = (): void => {
    const parser = (this.#ws as unknown as { readonly _receiver?: Parser | null })._receiver
    parser?.once("conclude", (code: number, reason: Buffer) => this.#end(code, reason.toString()))
    if (!parser || !isAtRest(parser) || this.#ws.extensions !== "") return
    const refuse = (fault: Fault) => this.#refuse(parser, fault)
    const limit = Math.min(this.maxMessageSize, parser._maxPayload || Infinity)
    const receiver = new WsReceiver(parser, !this.#isClient, limit, refuse)
    Object.assign(parser, { write: (bytes: Buffer) => receiver.read(bytes) })
    this.#receiver = receiver
  }

  /** Only what was dialled has a URL. */
  get #isClient(): boolean {
    return typeof this.#ws.url === "string"
  }

  /** Ends the connection as the package does at a fault that it finds: without waiting for the peer's close frame. */
  #refuse(parser: Parser, fault: Fault): void {
    const { code, error } = faults[fault]()
    this.#cause ??= error
    this.#close(code, error.message)
    parser.destroy(error)
  }

  /** A pong may stand for several pings (RFC 6455, 5.5.3): the one it repeats, and those before. */
  #answer(pong: string): void {
    const last = this.#asked.findIndex(({ payload }) => payload === pong)
    for (const { answered } of this.#asked.splice(0, last + 1)) answered()
  }

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return this.#slot.closing(() => this.#close(code, reason), timeout, this.terminate, this.#gone)
  }

  /** Waits until nothing is left of the socket, which may take longer than the end of the connection. */
  readonly #gone: Effect.Effect<void> = this.#leavers.until(() => this.#ws.readyState === 3 ? Effect.void : undefined)

  /** Ends the connection at once, and waits until it has been reported. */
  readonly terminate: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#ws.readyState !== 3) this.#ws.terminate()
    return this.#gone
  })

  /** Sends a close frame behind what has been sent. */
  #close(code: number, reason: string): void {
    this.#sender?.flush()
    this.#ws.close(code, reason)
  }

  #isOpen(): boolean {
    return this.#ws.readyState === 1 && !this.#slot.ended
  }

  #end(code: number, reason: string): void {
    const cause = this.#cause
    this.#slot.close({ code, reason, ...(cause === undefined ? {} : { cause }) })
  }

  readonly #onError = (error: Error): void => {
    this.#cause ??= error
  }

  readonly #onSign = (): void => {
    this.#signs++
  }

  /** A failure to send ends the connection, which is reported as such. */
  readonly #onSent = (): void => {
    if (!this.#blocked || !this.isWritable()) return
    this.#slot.writable()
  }
}

/** How the connection ends at what a receiver refuses. */
const faults: Record<Fault, () => { readonly code: number; readonly error: Error }> = {
  "too big": () => ({ code: 1009, error: new RangeError("message too big") }),
  "too many fragments": () => ({ code: 1008, error: new Error("too many fragments") }),
  interrupted: () => ({ code: 1002, error: new Error("a message was interrupted by another") })
}

/** The parser of the package, with what tells that no message has begun, and the limit that whoever made the socket set. */
interface Parser extends Stream.Writable {
  readonly _maxPayload?: number
  readonly _state?: number
  readonly _bufferedBytes?: number
  readonly _fragmented?: number
}

/**
 * Whoever made the socket may have let it read before, or have given it to another transport, too. A parser of another kind
 * is left alone.
 */
const isAtRest = (parser: Parser): boolean =>
  parser._state === 0 && parser._bufferedBytes === 0 && parser._fragmented === 0 && !Object.hasOwn(parser, "write")

const empty = new Uint8Array(0)

const ignoreFailure = (): void => {}

const toAddress = (host: string | undefined, port: number | undefined): Address =>
  host === undefined || port === undefined ? unix("") : tcp(host, port)

/** How many pings are remembered of a peer that answers none. */
const maxAsked = 16
