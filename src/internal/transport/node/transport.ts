import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import type { WebSocket } from "ws"
import { type Address, opaque } from "../../../Address.js"
import { type Listener, type Transport, TypeId, type UpgradeAnswer } from "../../../Transport.js"
import { Notify } from "../../sync/notify.js"
import { PendingPings } from "../../sync/pendingPings.js"
import { readIntoSharedBuffer } from "../../tcp/sharedReadBuffer.js"
import { concatBytes } from "../concatBytes.js"
import { ListenerBuffer, noListener } from "../listenerBuffer.js"
import type { Settings } from "../options.js"
import { socketAddresses } from "../socketAddress.js"
import { ping, pong } from "./frameHeader.js"
import { type Fault, FrameReader, maxFragments } from "./frameReader.js"
import { FrameWriter } from "./frameWriter.js"
import { SlicedReader } from "./readBudget.js"
import { answerPings, isReplaceable, neverDrains, type Parser, parserOf, restrain, tcpOf } from "./wsInternals.js"

/** The end of the WebSocket: the client masks what it sends. A session's role is independent of it. */
export type End = "client" | "server"

/** The WebSockets that have a transport. */
const taken = new WeakSet<WebSocket>()

/**
 * A transport over a WebSocket of the package `ws`, which it listens to from its construction on.
 *
 * On the fast path it reads and writes frames at the TCP socket itself, and `ws` handles text and control frames. On
 * the slow path `ws` carries the messages.
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
  readonly #settings: Settings
  readonly #listeners: ListenerBuffer
  readonly #closeWaiters = new Notify()
  readonly #pings = new PendingPings()
  #socket: Net.Socket | undefined
  #writer: FrameWriter | undefined
  #reader: SlicedReader | undefined
  #slowPath: string | undefined = "the TCP socket is unknown"
  #cause: unknown
  #events = 0
  #blocked = false

  /**
   * Throws when the WebSocket has a transport already: the first one reads the messages, and the second would get
   * none.
   */
  constructor(ws: WebSocket, end: End, settings: Settings) {
    if (taken.has(ws)) throw new Error("cannot make a NodeTransport: the WebSocket has one already")
    taken.add(ws)
    this.#ws = ws
    this.#end = end
    this.#settings = settings
    this.maxMessageSize = settings.maxMessageSize
    this.#listeners = new ListenerBuffer(settings.maxMessageSize, () => this.#giveUp(1008, new Error(noListener)))
    ws.binaryType = "nodebuffer" // the program may have set another type
    ws.on("message", (data: Buffer, isBinary: boolean) => {
      this.#events++
      if (!isBinary) return this.#listeners.receiver.onText()
      if (data.byteLength <= this.maxMessageSize) return this.#listeners.receiver.onMessage(data)
      this.#giveUp(1009, tooBig()) // reached on the slow path alone, where the parser of `ws` is unknown
    })
    ws.on("ping", this.#onEvent)
    ws.on("pong", (payload: Buffer) => {
      this.#events++
      this.#pings.answer(Number(payload.toString()))
    })
    ws.on("error", (error: Error) => {
      // `ws` sends a close frame and then waits for the peer to end TCP, which the peer may never do.
      this.#cause ??= error
      this.#halfClose()
      this.#conclude(1006, "")
    })
    ws.on("close", (code: number, reason: Buffer) => {
      this.#conclude(code, reason.toString())
      this.#closeWaiters.notifyAll()
    })
    if (ws.readyState === 3) this.#conclude(1006, "")
    else if (ws.readyState === 0) ws.once("open", this.#replaceParser)
    else this.#replaceParser()
  }

  /**
   * Sets the TCP socket of the WebSocket, and takes the fast path where nothing speaks against it. Bun shows no more
   * than the peer's address of a dialled WebSocket, so that `ws` carries the messages there.
   */
  connected(shown: Net.Socket | null | undefined): void {
    const socket = shown ?? tcpOf(this.#ws)
    if (socket !== undefined) Object.assign(this, socketAddresses(socket))
    if (typeof socket?.prependListener !== "function") return
    this.#socket = socket
    const reader = this.#reader
    // These listeners run before those of `ws`. Frames before the peer's end of TCP count, such as a close frame.
    // A socket that closes without that end was destroyed by this process.
    socket.prependListener("close", () => reader?.drop())
    socket.prependListener("end", () => reader?.finish()) // TLS emits `end` while the socket is paused
    socket.prependListener("error", (error: Error) => { // `ws` does not report the error
      reader?.finish()
      this.#cause ??= error
    })
    // An extension transforms every message. Where the parser is unknown, such as on Bun, so is what `ws` does behind
    // it: Bun's socket takes part of a large message, and never tells that it can take more.
    if (reader !== undefined && this.#ws.extensions === "") {
      const writer = this.#writer = new FrameWriter(this.#ws, socket, this.#end === "client", this.#onSent)
      answerPings(this.#ws, (payload, left) => writer.answer(payload, left))
    }
    const isShared = reader !== undefined && readIntoSharedBuffer(socket, (bytes) => reader.take(bytes))
    this.#slowPath = this.#ws.extensions !== ""
      ? `the extension ${this.#ws.extensions} is in use`
      : reader === undefined
      ? "the parser of this version of ws is unknown, or it was made with allowSynchronousEvents: false"
      : !isShared && !("encrypted" in socket)
      ? "the TCP socket has other readers, is paused, or does not come from node:net"
      : undefined
  }

  /** The reason why messages take the slow path: through `ws`, or through Node's stream; undefined on the fast path. */
  get slowPath(): string | undefined {
    return this.#slowPath
  }

  /** Logs the reason for the slow path at debug level. */
  readonly logSlowPath: Effect.Effect<void> = Effect.suspend(() =>
    this.#slowPath === undefined
      ? Effect.void
      : Effect.logDebug(`messages take the slow path: ${this.#slowPath}`)
  )

  listen(listener: Listener): void {
    this.#listeners.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>, more?: boolean): void {
    if (!this.#isOpen()) return
    if (this.#writer === undefined) this.#ws.send(concatBytes(parts), this.#onSent)
    else this.#writer.send(parts, more)
  }

  extend(parts: ReadonlyArray<Uint8Array>): boolean {
    return this.#isOpen() && this.#writer !== undefined && this.#writer.extend(parts)
  }

  pollWritable(): boolean {
    if (!this.#isOpen()) return false
    this.#blocked = (this.#writer?.unsent ?? this.#ws.bufferedAmount) >= this.#settings.highWaterMark
    return !this.#blocked
  }

  /** Changes with every byte of the TCP socket, and with every event while the socket is unknown. */
  receiveCount(): number {
    return (this.#socket?.bytesRead ?? 0) + this.#events
  }

  ping(answered?: () => void): void {
    if (!this.#isOpen()) return
    const payload = answered === undefined ? "" : String(this.#pings.add(answered))
    if (this.#writer === undefined) this.#ws.ping(payload, undefined, ignoreFailure)
    else this.#writer.control(ping, Buffer.from(payload))
    this.pong()
  }

  pong(): void {
    if (!this.#isOpen()) return
    if (this.#writer === undefined) this.#ws.pong(ignoreFailure)
    else this.#writer.control(pong, empty)
  }

  /**
   * Puts the frame reader before the parser of `ws`, where the parser is of a known kind.
   *
   * The peer's close frame is the end of the connection, and the parser tells of it by `conclude`. `ws` tells of it
   * after the end of TCP, which the peer may delay or replace by a reset.
   */
  readonly #replaceParser = (): void => {
    const parser = parserOf(this.#ws)
    if (parser === undefined) return
    parser.once("conclude", (code: number, reason: Buffer) => this.#conclude(code, reason.toString()))
    const isWithin = restrain(parser, this.maxMessageSize, maxFragments(this.maxMessageSize))
    if (!isWithin) return this.#refuse(parser, "too big")
    if (!isReplaceable(parser) || this.#ws.extensions !== "") return
    const frames = new FrameReader(parser, {
      masked: this.#end === "server",
      limit: parser._maxPayload!,
      listeners: this.#listeners,
      refuse: (fault) => this.#refuse(parser, fault),
      share: this.#settings.partialMessages.join()
    })
    this.#ws.once("close", () => frames.release())
    const reader = new SlicedReader(
      (bytes, count) => frames.read(bytes, count),
      () => this.#ws.isPaused || tcpOf(this.#ws)?.resume()
    )
    neverDrains(parser)
    Object.assign(parser, { write: (bytes: Buffer) => reader.take(bytes) })
    this.#reader = reader
  }

  /** Ends the connection as `ws` does at a fault that its parser finds. */
  #refuse(parser: Parser, fault: Fault): void {
    const { code, error } = faults[fault]()
    this.#giveUp(code, error)
    parser.destroy(error)
  }

  /** Sends a close frame and ends without waiting: a peer at fault may neither answer nor end TCP. */
  #giveUp(code: number, error: Error): void {
    this.#cause ??= error
    this.#close(code, error.message)
    this.#conclude(1006, "")
  }

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return this.#listeners.closing(() => this.#close(code, reason), timeout, this.terminate, this.#awaitClosed)
  }

  /** Waits until the WebSocket is closed, which may take longer than the end of the connection. */
  readonly #awaitClosed: Effect.Effect<void> = this.#closeWaiters.waitUntil(() =>
    this.#ws.readyState === 3 ? Effect.void : undefined
  )

  /** Ends the connection, and completes when the end has been delivered. */
  readonly terminate: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#ws.readyState !== 3) this.#ws.terminate()
    return this.#awaitClosed
  })

  /** Sends a close frame behind all messages. */
  #close(code: number, reason: string): void {
    this.#writer?.flush()
    this.#ws.close(code, reason)
    this.#halfClose()
  }

  /**
   * Ends this direction of TCP behind the close frame, which is the last frame (RFC 6455, 5.5.1). A Go peer answers
   * no close frame, and ends TCP when it has read the end. With an extension the close frame may still wait for the
   * compressor.
   */
  #halfClose(): void {
    if (this.#writer !== undefined && this.#ws.readyState > 1) this.#socket?.end()
  }

  #isOpen(): boolean {
    return this.#ws.readyState === 1 && !this.#listeners.ended
  }

  #conclude(code: number, reason: string): void {
    const cause = this.#cause
    this.#listeners.close({ code, reason, ...(cause === undefined ? {} : { cause }) })
  }

  readonly #onEvent = (): void => {
    this.#events++
  }

  /** Called when bytes have left, and when they could not: that ends the connection, which `close` reports. */
  readonly #onSent = (): void => {
    if (!this.#blocked || !this.pollWritable()) return
    this.#listeners.writable()
  }
}

const tooBig = (): Error => new RangeError("message too big")

/** The close code and the error for each fault of a message. */
const faults: Record<Fault, () => { readonly code: number; readonly error: Error }> = {
  "too big": () => ({ code: 1009, error: tooBig() }),
  "too many fragments": () => ({ code: 1008, error: new Error("too many fragments") }),
  "no room": () => ({ code: 1013, error: new Error("there are too many unfinished messages") }),
  interrupted: () => ({ code: 1002, error: new Error("a message was interrupted by another") })
}

const empty = new Uint8Array(0)

const ignoreFailure = (): void => {}
