import * as PlatformSocket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Address, opaque } from "../../Address.js"
import { type CloseInfo, type Listener, type Transport, TypeId } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { concatBytes } from "./concatBytes.js"
import { ListenerBuffer, noListener, tooBig } from "./listenerBuffer.js"
import { type Settings, StandardTransport, type Terminable } from "./standardTransport.js"

/** How a platform `Socket` shows its WebSocket, and which transport carries on over that WebSocket. */
export interface Adopter {
  /**
   * Called just before the socket runs. The returned function is called when the socket is open, and returns its
   * WebSocket.
   */
  readonly watchUpgrade: () => () => globalThis.WebSocket | undefined
  /** Returns the transport of the open WebSocket, which the scope owns. */
  readonly adopt: (ws: globalThis.WebSocket) => Effect.Effect<Terminable, never, Scope.Scope>
}

/** Runs everywhere: the first message shows the WebSocket. */
export const portableAdopter = (settings: Settings): Adopter => ({
  watchUpgrade: () => () => undefined,
  adopt: (ws) =>
    Effect.suspend(() => {
      const transport = new StandardTransport(ws, settings)
      return Effect.as(transport.begin, transport)
    })
})

/**
 * Makes a transport over a platform `Socket`, once the socket is open.
 *
 * A platform socket runs an effect per message and writes by effects, so the transport carries on over the WebSocket
 * below as soon as the adopter or the effect of the first message shows it. Until then a session sends opening frames
 * only.
 */
export const fromSocket = (
  socket: PlatformSocket.Socket,
  settings: Settings,
  adopter: Adopter = portableAdopter(settings)
): Effect.Effect<Transport, PlatformSocket.SocketError, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const write = yield* socket.writer
    const transport = new PlatformTransport(settings)
    const opened = yield* Deferred.make<void, PlatformSocket.SocketError>()
    const adopt = (ws: globalThis.WebSocket) =>
      Effect.map(Scope.extend(adopter.adopt(ws), scope), (below) => transport.carryOn(below))
    const adoptShown = Effect.flatMap(Effect.serviceOption(PlatformSocket.WebSocket), (ws) => {
      if (ws._tag === "None") return Effect.void // the transport stays with the platform's effects
      if (ws.value.binaryType === "blob") {
        return Effect.fail(new PlatformSocket.SocketGenericError({ reason: "Read", cause: new Error(blobs) }))
      }
      return adopt(ws.value)
    })
    const run = Effect.suspend(() => {
      const upgraded = adopter.watchUpgrade()
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
    yield* transport.outboundReady.waitUntil(() => transport.next()).pipe(
      Effect.flatMap((message) => write(message)),
      Effect.zipRight(Effect.sync(() => transport.written())),
      Effect.forever,
      Effect.catchAllCause(() => transport.terminate), // browsers throw at close codes below 3000 but 1000
      Effect.interruptible,
      Effect.forkScoped
    )
    yield* Effect.addFinalizer(() => transport.terminate)
    yield* Deferred.await(opened)
    return transport
  })

const blobs = "the WebSocket delivers Blobs, whose order is not kept: set its binaryType to \"arraybuffer\""

type Outbound = Uint8Array | PlatformSocket.CloseEvent

/**
 * How messages leave. The transport below is known from the upgrade or the first message on:
 *
 * - `Idle`: by effects, of which none runs
 * - `Writing`: by effects, of which one runs
 * - `HandingOver`: by the transport below, as soon as the effect that runs has completed
 * - `Direct`: by the transport below; a close frame is still written by an effect
 */
type Sending =
  | { readonly _tag: "Idle" | "Writing" }
  | { readonly _tag: "HandingOver" | "Direct"; readonly below: Terminable }

/** Which messages have come by effects: none, at least one, or one that was too large, so that no more count. */
type Received = "None" | "Some" | "Refused"

/** A transport that sends and receives by effects until the transport below it is known. */
class PlatformTransport implements Terminable {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  /** Woken when a message has to be written by effect. */
  readonly outboundReady = new Notify()
  stopReading: Effect.Effect<unknown> = Effect.void
  readonly #highWaterMark: number
  readonly #listeners: ListenerBuffer
  readonly #outbound: Array<Outbound> = []
  #outboundBytes = 0
  #blocked = false
  #sending: Sending = { _tag: "Idle" }
  #received: Received = "None"
  #asks = 0

  constructor(settings: Settings) {
    this.maxMessageSize = settings.maxMessageSize
    this.#highWaterMark = settings.highWaterMark
    this.#listeners = new ListenerBuffer(
      settings.maxMessageSize,
      () => this.#push(new PlatformSocket.CloseEvent(1008, noListener))
    )
  }

  get localAddress(): Address {
    return this.#below?.localAddress ?? opaque("socket")
  }

  get remoteAddress(): Address {
    return this.#below?.remoteAddress ?? opaque("socket")
  }

  /** Handles a message of the platform's socket. Returns true for the first one, which shows the WebSocket. */
  arrive(message: string | Uint8Array | ArrayBuffer): boolean {
    if (this.#below !== undefined || this.#received === "Refused") return false // the transport below receives it, too
    const isFirst = this.#received === "None"
    this.#received = "Some"
    if (typeof message === "string") this.#listeners.receiver.onText()
    else if (message.byteLength > this.maxMessageSize) this.#refuse()
    else this.#listeners.receiver.onMessage(message instanceof Uint8Array ? message : new Uint8Array(message))
    return isFirst
  }

  /** Carries on with the transport below. */
  carryOn(below: Terminable): void {
    const isWriting = this.#sending._tag === "Writing"
    this.#sending = { _tag: isWriting ? "HandingOver" : "Direct", below }
    below.listen({
      onMessage: (message) => this.#received === "Refused" || this.#listeners.receiver.onMessage(message),
      onText: () => this.#received === "Refused" || this.#listeners.receiver.onText(),
      onWritable: () => this.#listeners.writable(),
      onClose: (end) => this.end(end)
    })
    if (!isWriting) this.#flush(below)
  }

  listen(listener: Listener): void {
    this.#listeners.listen(listener)
  }

  send(parts: ReadonlyArray<Uint8Array>): void {
    if (this.#sending._tag === "Direct") this.#sending.below.send(parts)
    else this.#push(concatBytes(parts))
  }

  pollWritable(): boolean {
    if (this.#listeners.ended) return false
    if (this.#sending._tag === "Direct") return this.#sending.below.pollWritable()
    this.#blocked = this.#outboundBytes >= this.#highWaterMark
    return !this.#blocked
  }

  /**
   * Changes with every call while the transport below is unknown or has no pings, as in a browser: the session cannot
   * ask the peer for a sign of life, and takes the peer to be alive.
   */
  receiveCount(): number {
    return this.#below?.ping === undefined ? ++this.#asks : this.#asks + this.#below.receiveCount()
  }

  readonly ping = (answered?: () => void): void => this.#below?.ping?.(answered)

  readonly pong = (): void => this.#below?.pong?.()

  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.#sending._tag === "Direct"
        ? Effect.ensuring(this.#sending.below.close(code, reason, timeout), this.terminate)
        : this.#listeners.closing(
          () => this.#push(new PlatformSocket.CloseEvent(code, reason)),
          timeout,
          this.terminate
        )
    )
  }

  readonly terminate: Effect.Effect<void> = Effect.suspend(() =>
    Effect.zipRight(this.#below?.terminate ?? Effect.void, this.stopReading)
  )

  /** Returns the next message to write by effect. */
  next(): Effect.Effect<Outbound> | undefined {
    const message = this.#outbound.shift()
    if (message === undefined) return undefined
    this.#sending = "below" in this.#sending ? { ...this.#sending, _tag: "HandingOver" } : { _tag: "Writing" }
    return Effect.succeed(message)
  }

  /** Called when the message is written. */
  written(): void {
    if ("below" in this.#sending) {
      this.#sending = { ...this.#sending, _tag: "Direct" }
      return this.#flush(this.#sending.below)
    }
    this.#sending = { _tag: "Idle" }
    this.#outboundBytes = this.#outbound.reduce((sum, message) => sum + sizeOf(message), 0)
    if (this.#blocked && this.pollWritable()) this.#listeners.writable()
  }

  end(end: CloseInfo): void {
    this.#listeners.close(end)
  }

  #refuse(): void {
    this.#received = "Refused"
    this.#push(new PlatformSocket.CloseEvent(1009, "message too big"))
    this.end(tooBig)
  }

  get #below(): Terminable | undefined {
    return "below" in this.#sending ? this.#sending.below : undefined
  }

  /** Sends the waiting messages by the transport below, ahead of new ones. A close frame is still written by effect. */
  #flush(below: Terminable): void {
    const closing: Array<Outbound> = []
    for (const message of this.#outbound.splice(0)) {
      if (message instanceof Uint8Array) below.send([message])
      else closing.push(message)
    }
    this.#outbound.push(...closing)
    if (this.#blocked && this.pollWritable()) this.#listeners.writable()
  }

  #push(message: Outbound): void {
    if (this.#listeners.ended) return
    this.#outbound.push(message)
    this.#outboundBytes += sizeOf(message)
    this.outboundReady.notifyOne()
  }
}

const sizeOf = (message: Outbound): number => message instanceof Uint8Array ? message.byteLength : 0

/** The platform takes 1006 for a clean end and reports it like 1000. A clean end is therefore reported as a loss. */
const endOf = (exit: Exit.Exit<void, PlatformSocket.SocketError>): CloseInfo => {
  if (Exit.isSuccess(exit) || exit.cause._tag !== "Fail") return { code: 1006, reason: "" }
  const error = exit.cause.error
  return PlatformSocket.SocketCloseError.is(error)
    ? { code: error.code, reason: error.closeReason ?? "" }
    : { code: 1006, reason: "", cause: error }
}
