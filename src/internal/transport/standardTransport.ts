import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Address, opaque, redacted } from "../../Address.js"
import { type CloseInfo, type Listener, type Transport, TypeId } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { PendingPings } from "../sync/pendingPings.js"
import { describe } from "../text/describe.js"
import { abandonedCode } from "./closeCode.js"
import { concatBytes } from "./concatBytes.js"
import { ListenerBuffer, noListener, tooBig } from "./listenerBuffer.js"
import type * as Options from "./options.js"
import { socketAddresses } from "./socketAddress.js"
import { isNode, maxUndiciMessage, type TcpWatch, watchTcp } from "./undici.js"
import { extrasOf, type WebSocketExtras } from "./webSocketExtras.js"

export type Settings = Pick<Options.Settings, "highWaterMark" | "maxMessageSize">

/** A transport that can end its connection without waiting for the peer. */
export interface Terminable extends Transport {
  readonly terminate: Effect.Effect<void>
}

/**
 * A transport over a standard `WebSocket`, which tells neither of pings nor of the moment when its buffer is empty.
 * The pings of a `ws` WebSocket are used where they are present.
 */
export class StandardTransport implements Terminable {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  localAddress: Address = opaque("browser")
  remoteAddress: Address
  readonly ping: Transport["ping"]
  readonly pong: Transport["pong"]
  readonly #ws: globalThis.WebSocket
  readonly #extras: WebSocketExtras | undefined
  readonly #highWaterMark: number
  readonly #listeners: ListenerBuffer
  readonly #bufferWatch = new Notify()
  readonly #tcp: TcpWatch
  #cause: unknown
  #received = 0
  #blocked = false

  constructor(ws: globalThis.WebSocket, settings: Settings) {
    this.#ws = ws
    this.#tcp = watchTcp(ws)
    this.#extras = extrasOf(ws)
    this.#highWaterMark = settings.highWaterMark
    // A session that needs larger messages than undici lets in fails when it is made, rather than by a loss later.
    this.maxMessageSize = this.#extras === undefined && isNode()
      ? Math.min(settings.maxMessageSize, maxUndiciMessage)
      : settings.maxMessageSize
    this.remoteAddress = opaque(ws.url ? redacted(ws.url) : "socket") // an accepted socket has no URL
    this.#listeners = new ListenerBuffer(this.maxMessageSize, () => this.#startClose(1008, noListener))
    if (this.#extras !== undefined) {
      const pings = this.#watchPings(this.#extras)
      this.ping = pings.ping
      this.pong = pings.pong
    }
    ws.binaryType = "arraybuffer" // reading a Blob takes time, which would change the order of messages
    ws.addEventListener("message", (event) => this.#onMessage(event.data))
    ws.addEventListener("error", (event) => {
      this.#cause ??= errorOf(event)
      // `ws` then waits for the peer to end TCP, which the peer may never do. A standard WebSocket ends at once.
      if (this.#extras !== undefined) this.#end({ code: 1006, reason: "" })
    })
    ws.addEventListener("close", ({ code, reason }) => {
      this.#answerClose()
      this.#end({ code: code || 1006, reason }) // Deno tells of a loss by the code 0
    })
    if (ws.readyState === 3) this.#end({ code: 1006, reason: "" })
  }

  /** Completes the transport once its WebSocket is open, and watches the buffer until the scope closes. */
  readonly begin: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => {
    const tcp = this.#extras?._socket
    if (tcp) Object.assign(this, socketAddresses(tcp))
    return Effect.asVoid(Effect.forkScoped(this.#watchBuffer))
  })

  listen(listener: Listener): void {
    this.#listeners.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (this.#isOpen()) this.#ws.send(concatBytes(parts))
  }

  pollWritable(): boolean {
    if (!this.#isOpen()) return false
    const blocked = this.#unsent >= this.#highWaterMark
    if (blocked && !this.#blocked) {
      this.#blocked = true
      this.#bufferWatch.notifyAll()
    }
    return !blocked
  }

  /**
   * Counts messages, pings and pongs, and the bytes of a message under way where the WebSocket shows its TCP socket.
   */
  receiveCount(): number {
    return this.#received + (this.#extras?._socket?.bytesRead ?? 0)
  }

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return this.#listeners.closing(() => this.#startClose(code, reason), timeout, this.terminate)
  }

  /**
   * Ends the connection. The standard has no way to do so, so Node's TCP socket is destroyed where it is known.
   * Elsewhere the transport stops waiting, and the platform holds the connection until the peer or the network ends
   * it. The close frame tells the peer of a loss.
   */
  readonly terminate: Effect.Effect<void> = Effect.sync(() => {
    if (this.#extras === undefined) this.#startClose(abandonedCode, "")
    else if (this.#ws.readyState !== 3) this.#extras.terminate()
    this.#end({ code: 1006, reason: "" })
    if (this.#ws.readyState !== 3) this.#tcp.socket()?.destroy()
  })

  /** Polls the buffer while a sender waits for it to empty. */
  readonly #watchBuffer: Effect.Effect<never> = this.#bufferWatch.waitUntil(() =>
    this.#blocked && !this.#listeners.ended ? Effect.void : undefined
  ).pipe(
    Effect.zipRight(Effect.sleep(pollInterval)),
    Effect.zipRight(Effect.sync(() => {
      if (this.#unsent >= this.#highWaterMark) return
      this.#blocked = false
      this.#listeners.writable()
    })),
    Effect.forever
  )

  #watchPings(extras: WebSocketExtras): Required<Pick<Transport, "ping" | "pong">> {
    const pending = new PendingPings()
    extras.on("ping", () => {
      this.#received++
    })
    extras.on("pong", (payload) => {
      this.#received++
      pending.answer(Number(payload.toString()))
    })
    const pong = () => {
      if (this.#isOpen()) extras.pong("", undefined, ignoreFailure)
    }
    return {
      pong,
      ping: (answered) => {
        if (!this.#isOpen()) return
        extras.ping(answered === undefined ? "" : String(pending.add(answered)), undefined, ignoreFailure)
        pong()
      }
    }
  }

  #onMessage(data: unknown): void {
    this.#received++
    if (!(data instanceof ArrayBuffer)) return this.#listeners.receiver.onText()
    if (data.byteLength <= this.maxMessageSize) return this.#listeners.receiver.onMessage(new Uint8Array(data))
    this.#startClose(1009, "message too big")
    this.#listeners.close(tooBig)
  }

  /** Starts to close. Scripts may use 1000 and codes from 3000 on only, so a standard WebSocket sends 4008 for 1008. */
  #startClose(code: number, reason: string): void {
    if (this.#ws.readyState > 1) return
    const isAllowed = this.#extras !== undefined || code === 1000 || code >= 3000
    this.#ws.close(isAllowed ? code : code + 3000, reason)
  }

  /** Answers the peer's close frame where the program has to: Workers of dates before April 2026 leave that to it. */
  #answerClose(): void {
    if (this.#ws.readyState === 3) return
    try {
      this.#ws.close()
    } catch {
      // the connection has ended meanwhile
    }
  }

  #end(end: CloseInfo): void {
    const cause = this.#cause
    this.#tcp.stop()
    this.#listeners.close(cause === undefined ? end : { ...end, cause })
  }

  /** A runtime whose accepted sockets have no `bufferedAmount` hands every message to the kernel. */
  get #unsent(): number {
    return (this.#ws.bufferedAmount as number | undefined) ?? 0
  }

  #isOpen(): boolean {
    return this.#ws.readyState === 1 && !this.#listeners.ended
  }
}

/** The shortest interval of timers in browsers. */
const pollInterval = Duration.millis(4)

/** Ignores that a ping was not sent: the connection has ended then, which the transport reports. */
const ignoreFailure = (): void => {}

/**
 * Returns the error of an `error` event, with a text. Browsers tell none, Node 24 and 26 an error without a message.
 * Bun quotes the URL, which may hold secrets.
 */
export const errorOf = (event: Event): unknown => {
  const { error, message } = event as { readonly error?: unknown; readonly message?: unknown }
  const told = describe(error) || (typeof message === "string" ? message : "")
  const text = told.replaceAll(/\bwss?:[^\s'"]+/g, redacted) || "the socket failed"
  return text === describe(error) ? error : new Error(text)
}
