import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { WebSocket as NodeWebSocket } from "ws"
import { type Address, opaque, redacted } from "../../Address.js"
import { type CloseInfo, type Listener, type Transport, TypeId } from "../../Transport.js"
import { ConnectFailure } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"
import { concatBytes } from "./concatBytes.js"
import { ListenerBuffer, tooBig } from "./listenerBuffer.js"
import { NodeTransport, type Settings as WsSettings } from "./node/transport.js"
import { isAccepted, tcpOf } from "./node/wsInternals.js"
import { isNode, maxUndiciMessage, type TcpWatch, watchTcp } from "./undici.js"

export interface Settings extends WsSettings {
  readonly openTimeout: Duration.Duration
}

/** A transport that can be ended at once. */
export interface Terminable extends Transport {
  readonly terminate: Effect.Effect<void>
}

/** Opens what `construct` makes, and ends it with the scope. */
export const connect = (
  url: string,
  construct: () => globalThis.WebSocket,
  settings: Settings
): Effect.Effect<Transport, ConnectFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const { transport, ws } = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          const ws = construct()
          return { ws, transport: adopt(ws, settings) }
        },
        catch: (cause) => notConstructed(url, cause)
      }),
      ({ transport }) => transport.terminate
    )
    yield* awaitOpen(ws, url).pipe(
      Effect.timeoutFail({
        duration: settings.openTimeout,
        onTimeout: () => new ConnectFailure({ url: redacted(url), reason: "Timeout" })
      }),
      Effect.onError(() => transport.terminate)
    )
    yield* begin(transport, ws)
    return transport
  })

/** Why a socket cannot even be made. What platforms say of a URL that is none repeats it, with whatever secrets it has. */
export const notConstructed = (url: string, cause: unknown): ConnectFailure =>
  new ConnectFailure({
    url: redacted(url),
    ...(isWebSocketUrl(url)
      ? { reason: "Unreachable", cause }
      : { reason: "InvalidUrl", cause: new SyntaxError("neither ws:// nor wss://") })
  })

/** Whether a socket can be made for it. */
export const isWebSocketUrl = (url: string): boolean =>
  /^wss?:\/\/[^/]/.test(url) && !url.includes("#") && URL.canParse(url)

/**
 * The transport of a socket that is connecting: what the package `ws` made shows more than the standard, such as pings and
 * when its buffer runs empty.
 */
const adopt = (ws: globalThis.WebSocket, settings: Settings): StandardTransport | NodeTransport =>
  isNodeWebSocket(ws)
    ? new NodeTransport(ws, isAccepted(ws) ? "server" : "client", settings)
    : new StandardTransport(ws, settings)

/** The transport of a socket that is open. */
export const adoptOpen = (
  ws: globalThis.WebSocket,
  settings: Settings
): Effect.Effect<Terminable, never, Scope.Scope> =>
  Effect.suspend(() => {
    const transport = adopt(ws, settings)
    return Effect.as(begin(transport, ws), transport)
  })

/** What is left to do once the socket is open. */
const begin = (transport: StandardTransport | NodeTransport, ws: unknown): Effect.Effect<void, never, Scope.Scope> => {
  if (transport instanceof StandardTransport) return Effect.asVoid(Effect.forkScoped(transport.watchBuffer))
  const socket = tcpOf(ws as NodeWebSocket)
  if (socket !== undefined) transport.connected(socket) // without it the addresses are unknown, and nothing else is missed
  return transport.logDetour
}

/** Told by what it can do, since the package itself is not there in a browser. */
export const isNodeWebSocket = (ws: unknown): ws is NodeWebSocket =>
  ["on", "ping", "pong", "terminate"].every((name) =>
    typeof (ws as Record<string, unknown> | undefined)?.[name] === "function"
  )

const awaitOpen = (ws: globalThis.WebSocket, url: string): Effect.Effect<void, ConnectFailure> =>
  Effect.async((resume) => {
    if (ws.readyState === 1) return resume(Effect.void)
    const fail = (cause: unknown) =>
      resume(Effect.fail(new ConnectFailure({ url: redacted(url), reason: "Unreachable", cause })))
    if (ws.readyState > 1) return fail(new Error("the socket is closed"))
    ws.addEventListener("open", () => resume(Effect.void), { once: true })
    ws.addEventListener("error", (event) => fail(causeOf(event)), { once: true })
    ws.addEventListener("close", (event) => fail(new Error(`closed with code ${event.code}`)), { once: true })
  })

/** A transport over a standard `WebSocket`, which has no pings and does not tell when its buffer runs empty. */
class StandardTransport implements Terminable {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  readonly localAddress: Address = opaque("browser")
  readonly remoteAddress: Address
  readonly ping: undefined
  readonly #ws: globalThis.WebSocket
  readonly #highWaterMark: number
  readonly #slot: ListenerBuffer
  readonly #watcher = new Notify()
  readonly #tcp: TcpWatch
  #cause: unknown
  #messages = 0
  #blocked = false

  constructor(ws: globalThis.WebSocket, settings: Settings) {
    this.#ws = ws
    this.#tcp = watchTcp(ws)
    this.#highWaterMark = settings.highWaterMark
    // a session whose settings need more then says so, instead of a loss without a reason later
    this.maxMessageSize = isNode() ? Math.min(settings.maxMessageSize, maxUndiciMessage) : settings.maxMessageSize
    this.remoteAddress = opaque(ws.url ? redacted(ws.url) : "socket") // a socket that was accepted may have none
    this.#slot = new ListenerBuffer(this.maxMessageSize, () => this.#startClose(1008, "nobody listens"))
    ws.binaryType = "arraybuffer" // a Blob would have to be awaited, and order would be lost
    ws.addEventListener("message", (event) => this.#onMessage(event.data))
    ws.addEventListener("error", (event) => {
      this.#cause ??= causeOf(event)
    })
    ws.addEventListener("close", (event) => this.#end({ code: event.code, reason: event.reason }))
    if (ws.readyState === 3) this.#end({ code: 1006, reason: "" })
  }

  listen(listener: Listener): void {
    this.#slot.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (this.#isOpen()) this.#ws.send(concatBytes(parts))
  }

  pollWritable(): boolean {
    if (!this.#isOpen()) return false
    const blocked = this.#unsent >= this.#highWaterMark
    if (blocked && !this.#blocked) {
      this.#blocked = true
      this.#watcher.notifyAll()
    }
    return !blocked
  }

  receiveCount(): number {
    return this.#messages
  }

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return this.#slot.closing(() => this.#startClose(code, reason), timeout, this.terminate)
  }

  /**
   * The standard cannot end a connection at once. Node's TCP socket is destroyed where it is known; elsewhere the transport
   * stops waiting, and the platform holds the connection until the peer or the network ends it.
   */
  readonly terminate: Effect.Effect<void> = Effect.sync(() => {
    this.#startClose(1006, "")
    this.#end({ code: 1006, reason: "" })
    if (this.#ws.readyState !== 3) this.#tcp.socket()?.destroy()
  })

  /** Looks at the buffer, again and again, while somebody waits for it to run empty. */
  readonly watchBuffer: Effect.Effect<never> = this.#watcher.waitUntil(() =>
    this.#blocked && !this.#slot.ended ? Effect.void : undefined
  ).pipe(
    Effect.zipRight(Effect.sleep(pollInterval)),
    Effect.zipRight(Effect.sync(() => {
      if (this.#unsent >= this.#highWaterMark) return
      this.#blocked = false
      this.#slot.writable()
    })),
    Effect.forever
  )

  #onMessage(data: unknown): void {
    this.#messages++
    if (!(data instanceof ArrayBuffer)) return this.#slot.text()
    if (data.byteLength <= this.maxMessageSize) return this.#slot.message(new Uint8Array(data))
    this.#startClose(1009, "message too big")
    this.#slot.close(tooBig)
  }

  /** Scripts may close with 1000 or a code from 3000 on only, so 1008 becomes 4008, and so on. */
  #startClose(code: number, reason: string): void {
    if (this.#ws.readyState <= 1) this.#ws.close(code === 1000 || code >= 3000 ? code : code + 3000, reason)
  }

  #end(end: CloseInfo): void {
    const cause = this.#cause
    this.#tcp.stop()
    this.#slot.close(cause === undefined ? end : { ...end, cause })
  }

  /** Runtimes whose accepted sockets tell no amount hand everything to the kernel. */
  get #unsent(): number {
    return (this.#ws.bufferedAmount as number | undefined) ?? 0
  }

  #isOpen(): boolean {
    return this.#ws.readyState === 1 && !this.#slot.ended
  }
}

/** How often a buffer is looked at: what browsers allow timers at most. */
const pollInterval = Duration.millis(4)

/** Browsers tell nothing, other platforms the error or its text. */
const causeOf = (event: Event): unknown => {
  const { error, message } = event as { readonly error?: unknown; readonly message?: unknown }
  return error ?? new Error(typeof message === "string" && message !== "" ? message : "the socket failed")
}
