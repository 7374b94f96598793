import * as PlatformSocket from "@effect/platform/Socket"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { type Address, opaque } from "../../Address.js"
import { type CloseInfo, type Listener, type Transport, TypeId } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { concatBytes } from "./concatBytes.js"
import { ListenerBuffer, tooBig } from "./listenerBuffer.js"
import { upgradedTo } from "./node/wsInternals.js"
import { adoptOpen, isNodeWebSocket, type Settings, type Terminable } from "./standard.js"

/**
 * A transport over a platform `Socket`, once it is open.
 *
 * Such a socket runs an effect per message and writes by effects, so the transport goes on with the WebSocket below as soon as
 * that is known. For an upgraded request on Node that is at once: the package `ws` notes the WebSocket at the TCP socket. All
 * others show their WebSocket to the effect of a message only, so the first message tells, and until then a session has
 * nothing to send but frames that open streams.
 */
export const fromSocket = (
  socket: PlatformSocket.Socket,
  settings: Settings
): Effect.Effect<Transport, PlatformSocket.SocketError, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const write = yield* socket.writer
    const request = yield* Effect.serviceOption(HttpServerRequest)
    const transport = new PlatformTransport(settings)
    const opened = yield* Deferred.make<void, PlatformSocket.SocketError>()
    const adopt = (ws: globalThis.WebSocket) =>
      Effect.map(Scope.extend(adoptOpen(ws, settings), scope), (below) => transport.settle(below))
    const adoptShown = Effect.flatMap(Effect.serviceOption(PlatformSocket.WebSocket), (ws) => {
      if (ws._tag === "None") return Effect.void // all goes on by effects
      if (ws.value.binaryType === "blob") {
        return Effect.fail(new PlatformSocket.SocketGenericError({ reason: "Read", cause: new Error(blobs) }))
      }
      return adopt(ws.value)
    })
    const run = Effect.suspend(() => {
      const upgraded = watchUpgrade(request)
      return socket.runRaw(
        (message: string | Uint8Array | ArrayBuffer) => transport.arrive(message) ? adoptShown : undefined,
        {
          onOpen: Effect.suspend(() => {
            const ws = upgraded()
            return ws === undefined ? Effect.void : adopt(ws)
          }).pipe(Effect.zipRight(Deferred.succeed(opened, undefined)), Effect.asVoid)
        }
      )
    })
    const reading = yield* run.pipe(
      Effect.onExit((exit) =>
        Effect.zipRight(
          Deferred.done(opened, Exit.isFailure(exit) ? exit : Exit.void),
          Effect.sync(() => transport.end(endOf(exit)))
        )
      ),
      Effect.interruptible,
      Effect.forkScoped
    )
    transport.stopReading = Fiber.interrupt(reading)
    yield* transport.departures.waitUntil(() => transport.next()).pipe(
      Effect.flatMap((message) => write(message)),
      Effect.zipRight(Effect.sync(() => transport.departed())),
      Effect.forever,
      Effect.catchAllCause(() => transport.terminate), // browsers refuse to send some close codes, and throw
      Effect.interruptible,
      Effect.forkScoped
    )
    yield* Effect.addFinalizer(() => transport.terminate)
    yield* Deferred.await(opened)
    return transport
  })

/** The platform's own tag, by its key: its module would be a large part of a page's bundle, for what a page never has. */
const HttpServerRequest = Context.GenericTag<Request, Request>("@effect/platform/HttpServerRequest")

interface Request {
  /** Node's request, on Node. */
  readonly source: { readonly socket?: object }
}

/**
 * Answers the WebSocket to which the request was upgraded since, if that has happened in this very step: only then is it
 * the platform socket that runs here which has done it.
 */
const watchUpgrade = (request: Option.Option<Request>): () => globalThis.WebSocket | undefined => {
  const tcp = Option.getOrUndefined(request)?.source.socket
  let isOver = tcp === undefined || upgradedTo(tcp) !== undefined
  queueMicrotask(() => {
    isOver = true
  })
  return () => {
    const ws = isOver ? undefined : upgradedTo(tcp!)
    return isNodeWebSocket(ws) ? ws as unknown as globalThis.WebSocket : undefined
  }
}

const blobs = "the WebSocket delivers Blobs, whose order is not kept: set its binaryType to \"arraybuffer\""

type Outbound = Uint8Array | PlatformSocket.CloseEvent

/** A transport that goes on with another one as soon as that is known. */
class PlatformTransport implements Terminable {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  /** Woken when there is something to write, or a transport to go on with. */
  readonly departures = new Notify()
  stopReading: Effect.Effect<unknown> = Effect.void
  readonly #highWaterMark: number
  readonly #slot: ListenerBuffer
  readonly #outbound: Array<Outbound> = []
  #outboundBytes = 0
  #writing = false
  #blocked = false
  /** Known from the upgrade or the first message on; used once what was written before it is out. */
  #below: Terminable | undefined
  #asked = false
  #refused = false
  #signs = 0

  constructor(settings: Settings) {
    this.maxMessageSize = settings.maxMessageSize
    this.#highWaterMark = settings.highWaterMark
    this.#slot = new ListenerBuffer(
      settings.maxMessageSize,
      () => this.#push(new PlatformSocket.CloseEvent(1008, "nobody listens"))
    )
  }

  get localAddress(): Address {
    return this.#below?.localAddress ?? opaque("socket")
  }

  get remoteAddress(): Address {
    return this.#below?.remoteAddress ?? opaque("socket")
  }

  /** A message of the platform's socket; true when the WebSocket shall be asked for. */
  arrive(message: string | Uint8Array | ArrayBuffer): boolean {
    if (this.#below !== undefined || this.#refused) return false // the one below hears of everything itself
    if (typeof message === "string") this.#slot.text()
    else if (message.byteLength > this.maxMessageSize) this.#refuse()
    else this.#slot.message(message instanceof Uint8Array ? message : new Uint8Array(message))
    const first = !this.#asked
    this.#asked = true
    return first
  }

  /** Goes on with the WebSocket of the socket. */
  settle(below: Terminable): void {
    this.#below = below
    below.listen({
      onMessage: (message) => this.#refused || this.#slot.message(message),
      onText: () => this.#refused || this.#slot.text(),
      onWritable: () => this.#slot.writable(),
      onClose: (end) => this.end(end)
    })
    if (!this.#writing) this.#hurry(below)
  }

  listen(listener: Listener): void {
    this.#slot.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (this.#isSettled()) this.#below!.send(parts)
    else this.#push(concatBytes(parts))
  }

  pollWritable(): boolean {
    if (this.#slot.ended) return false
    if (this.#isSettled()) return this.#below!.pollWritable()
    this.#blocked = this.#outboundBytes >= this.#highWaterMark
    return !this.#blocked
  }

  /** Where nothing can be asked of the peer, as in browsers, and before the WebSocket is known, the peer is taken to be alive. */
  receiveCount(): number {
    return this.#below?.ping === undefined ? ++this.#signs : this.#signs + this.#below.receiveCount()
  }

  readonly ping = (answered?: () => void): void => this.#below?.ping?.(answered)

  readonly pong = (): void => this.#below?.pong?.()

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.#isSettled()
        ? Effect.ensuring(this.#below!.close(code, reason, timeout), this.terminate)
        : this.#slot.closing(() => this.#push(new PlatformSocket.CloseEvent(code, reason)), timeout, this.terminate)
    )
  }

  readonly terminate: Effect.Effect<void> = Effect.suspend(() =>
    Effect.zipRight(this.#below?.terminate ?? Effect.void, this.stopReading)
  )

  /** The next message to write by effect. */
  next(): Effect.Effect<Outbound> | undefined {
    const message = this.#outbound.shift()
    if (message === undefined) return undefined
    this.#writing = true
    return Effect.succeed(message)
  }

  /** It is written. */
  departed(): void {
    this.#writing = false
    if (this.#below !== undefined) return this.#hurry(this.#below)
    this.#outboundBytes = this.#outbound.reduce((sum, message) => sum + sizeOf(message), 0)
    if (this.#blocked && this.pollWritable()) this.#slot.writable()
  }

  end(end: CloseInfo): void {
    this.#slot.close(end)
  }

  #refuse(): void {
    this.#refused = true
    this.#push(new PlatformSocket.CloseEvent(1009, "message too big"))
    this.end(tooBig)
  }

  #isSettled(): boolean {
    return this.#below !== undefined && !this.#writing
  }

  /** Frames that still wait go ahead of everything else; a close frame is written as it would have been. */
  #hurry(below: Terminable): void {
    const closing: Array<Outbound> = []
    for (const message of this.#outbound.splice(0)) {
      if (message instanceof Uint8Array) below.send([message])
      else closing.push(message)
    }
    this.#outbound.push(...closing)
    if (this.#blocked && this.pollWritable()) this.#slot.writable()
  }

  #push(message: Outbound): void {
    if (this.#slot.ended) return
    this.#outbound.push(message)
    this.#outboundBytes += sizeOf(message)
    this.departures.notifyOne()
  }
}

const sizeOf = (message: Outbound): number => message instanceof Uint8Array ? message.byteLength : 0

/** The platform counts 1006 among the clean ends and then does not tell it from 1000; a loss is what we must assume. */
const endOf = (exit: Exit.Exit<void, PlatformSocket.SocketError>): CloseInfo => {
  if (Exit.isSuccess(exit) || exit.cause._tag !== "Fail") return { code: 1006, reason: "" }
  const error = exit.cause.error
  return PlatformSocket.SocketCloseError.is(error)
    ? { code: error.code, reason: error.closeReason ?? "" }
    : { code: 1006, reason: "", cause: error }
}
