import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import type { WebSocket } from "ws"
import type { Address } from "../../../Address.js"
import { opaque, tcp, unix } from "../../../Address.js"
import type { Budget } from "../../../SharedLimits.js"
import { type Listener, type Transport, TypeId, type UpgradeAnswer } from "../../../Transport.js"
import { Notify } from "../../sync/notify.js"
import { concatBytes } from "../concatBytes.js"
import { ListenerBuffer } from "../listenerBuffer.js"
import { type Fault, FrameReader, maxFragments } from "./frameReader.js"
import { FrameWriter, ping, pong } from "./frameWriter.js"
import { SlicedReader } from "./readBudget.js"
import { readIntoSharedBuffer } from "./sharedReadBuffer.js"
import { isReplaceable, neverDrains, type Parser, parserOf, restrain, tcpOf } from "./wsInternals.js"

export interface Settings {
  readonly highWaterMark: number
  readonly maxMessageSize: number
  /** What the unfinished messages of all connections may take. */
  readonly partialMessages: Budget
}

/** Which end of the WebSocket this is; the client is the end that masks what it sends. Nothing to do with a session's role. */
export type End = "client" | "server"

/**
 * A transport over a `WebSocket` of the package `ws`. It listens from its construction on, so nothing is missed, and knows
 * the TCP socket below, since only that tells what is on its way in and out.
 */
export class NodeTransport implements Transport {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  localAddress: Address = opaque("unconnected")
  remoteAddress: Address = opaque("unconnected")
  /** Set by the end that dialled. */
  upgrade: UpgradeAnswer | undefined
  readonly #ws: WebSocket
  readonly #end: End
  readonly #highWaterMark: number
  readonly #partialMessages: Budget
  readonly #slot: ListenerBuffer
  readonly #leavers = new Notify()
  #socket: Net.Socket | undefined
  #sender: FrameWriter | undefined
  #reader: SlicedReader | undefined
  #detour: string | undefined = "the TCP socket is unknown"
  #cause: unknown
  #signs = 0
  #blocked = false
  /** Pings that want to know when they are answered, oldest first. */
  readonly #asked: Array<{ readonly payload: string; readonly answered: () => void }> = []
  #asking = 0

  constructor(ws: WebSocket, end: End, settings: Settings) {
    this.#ws = ws
    this.#end = end
    this.#highWaterMark = settings.highWaterMark
    this.#partialMessages = settings.partialMessages
    this.maxMessageSize = settings.maxMessageSize
    this.#slot = new ListenerBuffer(settings.maxMessageSize, () => this.#giveUp(1008, new Error("nobody listens")))
    ws.binaryType = "nodebuffer" // the application may have set another
    ws.on("message", (data: Buffer, isBinary: boolean) => {
      this.#signs++
      if (this.#cause !== undefined) return // behind a message that was not delivered
      if (!isBinary) return this.#slot.text()
      if (data.byteLength <= this.maxMessageSize) return this.#slot.message(data)
      this.#giveUp(1009, tooBig()) // the parser refuses it earlier, unless this transport knows nothing of the parser
    })
    ws.on("ping", this.#onSign)
    ws.on("pong", (payload: Buffer) => {
      this.#signs++
      this.#answer(payload.toString())
    })
    ws.on("error", (error: Error) => {
      // The package sends a close frame and then waits for the peer to end TCP, which a peer may never do.
      this.#cause ??= error
      this.#halfClose()
      this.#conclude(1006, "")
    })
    ws.on("close", (code: number, reason: Buffer) => {
      this.#conclude(code, reason.toString())
      this.#leavers.notifyAll()
    })
    if (ws.readyState === 3) this.#conclude(1006, "")
    else if (ws.readyState === 0) ws.once("open", this.#replaceParser)
    else this.#replaceParser()
  }

  /** Tells the transport of the socket that its WebSocket is established over. */
  connected(socket: Net.Socket): void {
    this.#socket = socket
    const reader = this.#reader
    // Before the package hears of it: what has come before a loss counts, such as the peer's close frame. The peer's end comes
    // behind all that, so a socket that closes before was destroyed here.
    socket.prependListener("close", () => reader?.drop())
    socket.prependListener("end", () => reader?.finish()) // TLS tells of it while the socket is paused
    socket.prependListener("error", (error: Error) => { // the package keeps the error to itself
      reader?.finish()
      this.#cause ??= error
    })
    // An extension would have to have its way with every message.
    if (this.#ws.extensions === "") {
      this.#sender = new FrameWriter(this.#ws, socket, this.#end === "client", this.#onSent)
    }
    const isShared = reader !== undefined && readIntoSharedBuffer(socket, (bytes) => reader.take(bytes))
    this.localAddress = toAddress(socket.localAddress, socket.localPort)
    this.remoteAddress = toAddress(socket.remoteAddress, socket.remotePort)
    this.#detour = this.#ws.extensions !== ""
      ? `the extension ${this.#ws.extensions} is in use`
      : reader === undefined
      ? "the parser of this version of ws is unknown, or it was made with allowSynchronousEvents: false"
      : !isShared && !("encrypted" in socket)
      ? "the TCP socket has other readers, is paused, or is none of Node's"
      : undefined
  }

  /** Why the package `ws`, which is slower, or Node's stream carries the messages; undefined on the direct path. */
  get detour(): string | undefined {
    return this.#detour
  }

  /** Logs at debug level where the direct path is not in use. */
  readonly logDetour: Effect.Effect<void> = Effect.suspend(() =>
    this.#detour === undefined
      ? Effect.void
      : Effect.logDebug(`NodeTransport: messages go a slower way: ${this.#detour}`)
  )

  listen(listener: Listener): void {
    this.#slot.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (!this.#isOpen()) return
    if (this.#sender === undefined) this.#ws.send(concatBytes(parts), this.#onSent)
    else this.#sender.send(parts)
  }

  pollWritable(): boolean {
    if (!this.#isOpen()) return false
    this.#blocked = (this.#sender?.unsent ?? this.#ws.bufferedAmount) >= this.#highWaterMark
    return !this.#blocked
  }

  receiveCount(): number {
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
   * Reads before the parser of the package does, if the parser is of a kind that is known. And listens to the parser: the
   * package tells of the peer's close frame when TCP has ended, too, which a peer may leave open, or reset. But the frame is
   * the end. Without its parser the transport hears of the frame later, and of a reset instead.
   */
  readonly #replaceParser = (): void => {
    const parser = parserOf(this.#ws)
    if (parser === undefined) return
    parser.once("conclude", (code: number, reason: Buffer) => this.#conclude(code, reason.toString()))
    const isWithin = restrain(parser, this.maxMessageSize, maxFragments(this.maxMessageSize))
    if (!isWithin) return this.#refuse(parser, "too big")
    if (!isReplaceable(parser) || this.#ws.extensions !== "") return
    const refuse = (fault: Fault) => this.#refuse(parser, fault)
    const share = this.#partialMessages.join()
    const receiver = new FrameReader(parser, this.#end === "server", parser._maxPayload!, refuse, share)
    this.#ws.once("close", () => receiver.release())
    const reader = new SlicedReader(
      (bytes, frames) => receiver.read(bytes, frames),
      () => this.#ws.isPaused || tcpOf(this.#ws)?.resume()
    )
    neverDrains(parser)
    Object.assign(parser, { write: (bytes: Buffer) => reader.take(bytes) })
    this.#reader = reader
  }

  /** Ends the connection as the package does at a fault that it finds. */
  #refuse(parser: Parser, fault: Fault): void {
    const { code, error } = faults[fault]()
    this.#giveUp(code, error)
    parser.destroy(error)
  }

  /** Ends the connection with a close frame, and waits for nothing: a peer at fault may not answer, and leave TCP open. */
  #giveUp(code: number, error: Error): void {
    this.#cause ??= error
    this.#close(code, error.message)
    this.#conclude(1006, "")
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
  readonly #gone: Effect.Effect<void> = this.#leavers.waitUntil(() =>
    this.#ws.readyState === 3 ? Effect.void : undefined
  )

  /** Ends the connection at once, and waits until it has been reported. */
  readonly terminate: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#ws.readyState !== 3) this.#ws.terminate()
    return this.#gone
  })

  /** Sends a close frame behind all that has been sent. */
  #close(code: number, reason: string): void {
    this.#sender?.flush()
    this.#ws.close(code, reason)
    this.#halfClose()
  }

  /**
   * Ends this direction of TCP behind the close frame, after which nothing may be sent (RFC 6455, 5.5.1). A Go peer answers no
   * close frame and leaves TCP open until it reads the end. With an extension the frame may still wait for its compressor.
   */
  #halfClose(): void {
    if (this.#sender !== undefined && this.#ws.readyState > 1) this.#socket?.end()
  }

  #isOpen(): boolean {
    return this.#ws.readyState === 1 && !this.#slot.ended
  }

  #conclude(code: number, reason: string): void {
    const cause = this.#cause
    this.#slot.close({ code, reason, ...(cause === undefined ? {} : { cause }) })
  }

  readonly #onSign = (): void => {
    this.#signs++
  }

  /** A failure to send ends the connection, which is reported as such. */
  readonly #onSent = (): void => {
    if (!this.#blocked || !this.pollWritable()) return
    this.#slot.writable()
  }
}

const tooBig = (): Error => new RangeError("message too big")

/** How the connection ends at what a receiver refuses. */
const faults: Record<Fault, () => { readonly code: number; readonly error: Error }> = {
  "too big": () => ({ code: 1009, error: tooBig() }),
  "too many fragments": () => ({ code: 1008, error: new Error("too many fragments") }),
  "no room": () => ({ code: 1013, error: new Error("there are too many unfinished messages") }),
  interrupted: () => ({ code: 1002, error: new Error("a message was interrupted by another") })
}

const empty = new Uint8Array(0)

const ignoreFailure = (): void => {}

const toAddress = (host: string | undefined, port: number | undefined): Address =>
  host === undefined || port === undefined ? unix("") : tcp(host, port)

/** How many pings are remembered of a peer that answers none. */
const maxAsked = 16
