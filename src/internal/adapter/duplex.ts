import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { isMuxStream, type MuxStream, ResetCode } from "../../MuxStream.js"
import type { Options } from "../../NodeDuplex.js"
import type { ReadError, Stalled } from "../../WsmuxError.js"
import { type Callbacks, isPeerLeft, toCallbacks } from "../session/callbacks.js"
import { forkInterruptibly } from "../sync/forkInterruptibly.js"
import type { Cancel } from "../sync/later.js"
import { interrupted, interruptSoon } from "../sync/unowned.js"
import { toNodeError } from "./nodeError.js"
import { StallTimeout } from "./stallTimeout.js"

const notAStream =
  "cannot use the value: not a MuxStream (a copy by { ...stream } lacks the operations; use MuxStream.withOperations)"

type Next = Exit.Exit<Option.Option<Uint8Array>, ReadError>
type Callback = (error?: Error | null) => void

/**
 * A `MuxStream` as a `Duplex` with the members of a `net.Socket` that `node:http`, `node:tls` and database drivers use.
 * The duplex holds at most one unread chunk, so that the window stays the only buffer. The duplex destroys itself when
 * both halves have ended.
 */
export class MuxDuplex extends Duplex {
  localAddress: string | undefined
  localPort: number | undefined
  localFamily: string | undefined
  remoteAddress: string | undefined
  remotePort: number | undefined
  remoteFamily: string | undefined
  connecting = true
  bytesRead = 0
  bytesWritten = 0
  timeout: number | undefined
  readonly #connect: Effect.Effect<MuxStream, unknown>
  readonly #release: (exit: Exit.Exit<void, Error>) => Effect.Effect<void>
  readonly #fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>
  /** The pending operations: opening the stream, a read, and a write or the end. */
  #connecting: Fiber.RuntimeFiber<MuxStream, unknown> | undefined
  #stream: Callbacks | undefined
  #reading: Cancel | undefined
  #writing: Cancel | undefined
  /** Whether Node has asked for a chunk. */
  #isWanted = false
  /** Whether a chunk is being pushed, in which Node may ask for the next. */
  #isPushing = false
  #timer: NodeJS.Timeout | undefined
  /** Bounds the wait of a write for a peer that has ended its half. */
  readonly #stallTimeout: StallTimeout
  #watching: Fiber.RuntimeFiber<void, Stalled> | undefined
  #unwatchReset: Cancel | undefined

  /**
   * @param connect opens the stream; reads and writes wait for it
   * @param release runs once, when the duplex is destroyed: with success if no byte was lost
   * @param runtime runs the effects
   */
  constructor(
    connect: MuxStream | Effect.Effect<MuxStream, unknown>,
    release: (exit: Exit.Exit<void, Error>) => Effect.Effect<void>,
    runtime: Runtime.Runtime<never>,
    options: Options
  ) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? true,
      readableHighWaterMark: 1, // one chunk of any size
      writableHighWaterMark: options.writableHighWaterMark ?? 64 * 1024
    })
    this.#release = release
    this.#stallTimeout = new StallTimeout(options.stallTimeout)
    this.#fork = forkInterruptibly(runtime)
    if (isMuxStream(connect)) this.#locate(connect)
    this.#connect = Effect.isEffect(connect) ? connect : Effect.succeed(connect)
  }

  get pending(): boolean {
    return this.connecting
  }

  override _construct(callback: Callback): void {
    if (this.destroyed) return callback()
    this.#connecting = this.#fork(this.#connect)
    this.#connecting.addObserver((exit) => {
      this.#connecting = undefined
      if (Exit.isFailure(exit)) {
        const isCancelled = this.destroyed && Cause.isInterruptedOnly(exit.cause)
        return callback(isCancelled ? null : nodeErrorOf(exit.cause))
      }
      if (!isMuxStream(exit.value)) return callback(new TypeError(notAStream))
      this.#stream = toCallbacks(exit.value, this.#fork)
      this.#stallTimeout.stream = exit.value
      this.#locate(exit.value)
      this.connecting = false
      callback()
      if (this.destroyed) return
      this.#unwatchReset = this.#stream.resets?.onPeerReset((reset) => {
        inOwnTurn((error) => this.destroy(error), Cause.fail(reset))
      })
      this.emit("connect")
      this.emit("ready")
    })
  }

  override _read(): void {
    this.#isWanted = true
    if (!this.#isPushing && this.#reading === undefined) this.#readOn()
  }

  /** Pushes received chunks while Node asks for them, then waits for the next. */
  #readOn(): void {
    while (this.#isWanted && !this.destroyed) {
      const next = this.#stream!.unsafeRead()
      if (next === undefined) {
        this.#reading = this.#stream!.read((next) => {
          this.#reading = undefined
          this.#deliver(next)
          this.#readOn()
        })
        return
      }
      this.#deliver(next)
    }
  }

  /** Node may ask for the next chunk before `push` returns. */
  #deliver(next: Next): void {
    this.#isWanted = false
    this.#isPushing = true
    try {
      if (this.#push(next)) this.#isWanted = true
    } catch (error) {
      this.destroy(error as Error) // Node asks for no more
    } finally {
      this.#isPushing = false
    }
  }

  /** Returns whether Node asks for more. */
  #push(next: Next): boolean {
    if (this.destroyed) return false
    if (Exit.isFailure(next)) {
      inOwnTurn((error) => this.destroy(error), next.cause)
      return false
    }
    this.#touch()
    if (Option.isNone(next.value)) {
      this.#stallTimeout.peerEnded = true
      return this.push(null)
    }
    const { buffer, byteLength, byteOffset } = next.value.value
    this.bytesRead += byteLength
    return this.push(Buffer.from(buffer, byteOffset, byteLength))
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#write([chunk], chunk.byteLength, callback)
  }

  override _writev(chunks: Array<{ readonly chunk: Buffer }>, callback: Callback): void {
    const buffers = chunks.map(({ chunk }) => chunk)
    this.#write(buffers, buffers.reduce((sum, { byteLength }) => sum + byteLength, 0), callback)
  }

  override _final(callback: Callback): void {
    this.#writing = this.#stream!.end((exit) => {
      // The peer of a socket that has closed takes an end, too.
      if (Exit.isFailure(exit) && !isPeerLeft(exit.cause)) inOwnTurn(callback, exit.cause)
      else callback()
    })
  }

  /** Node alone would wait until the duplex is connected. */
  override destroy(error?: Error): this {
    super.destroy(error)
    if (this.connecting) this.#cancelPending()
    return this
  }

  override _destroy(error: Error | null, callback: Callback): void {
    clearTimeout(this.#timer)
    this.connecting = false
    this.#cancelPending()
    const exit = exitOf(error, this.writableFinished || this.#losesNothing)
    const resets = this.#stream?.resets
    if (Exit.isFailure(exit)) {
      resets?.reset({ code: error === null ? ResetCode.Cancelled : ResetCode.Failed, reason: "" })
    } else if (!this.writableFinished) resets?.leave()
    // The error has a turn of its own, as a socket's has: Node's HTTP client removes its listener from a connection one
    // tick before its agent adds another.
    this.#fork(this.#release(exit)).addObserver(() => error === null ? callback() : setImmediate(callback, error))
  }

  /** Emits `timeout` after so many milliseconds without a read or a write. 0 turns the time-out off. */
  setTimeout(millis: number, listener?: () => void): this {
    if (!(millis >= 0 && millis < Infinity)) {
      throw new RangeError(`cannot set the time-out: it must be a finite number of milliseconds, not ${millis}`)
    }
    this.timeout = Math.min(millis, longestTimer)
    if (listener !== undefined) {
      if (millis > 0) this.once("timeout", listener)
      else this.off("timeout", listener)
    }
    this.#touch()
    return this
  }

  /** Ends the writable half. Destroys the duplex once all bytes are written. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once("finish", () => this.destroy())
  }

  address(): Net.AddressInfo | Record<string, never> {
    return this.localAddress === undefined || this.localPort === undefined
      ? {}
      : { address: this.localAddress, port: this.localPort, family: this.localFamily ?? "IPv4" }
  }

  /** For drivers that connect the socket that they get. Emits `connect` again where the stream is open already. */
  connect(): this {
    if (!this.connecting && !this.destroyed) process.nextTick(() => this.emit("connect"))
    return this
  }

  // These four have no effect: frames are sent at once, the session has a keep-alive, and no handle holds the process.

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  #write(chunks: ReadonlyArray<Uint8Array>, size: number, callback: Callback): void {
    this.#stallTimeout.beginWrite()
    this.#writing = this.#stream!.write(chunks, (exit) => {
      // The writer waits until the last bytes of a peer that has left are read: destroying now would lose them.
      if (Exit.isFailure(exit) && isPeerLeft(exit.cause) && this.#isRead) {
        this.once("end", () => inOwnTurn(callback, exit.cause))
        return
      }
      this.#stallTimeout.endWrite()
      if (Exit.isFailure(exit)) return inOwnTurn(callback, exit.cause)
      this.bytesWritten += size
      this.#touch()
      callback()
    })
    if (this.#stallTimeout.isWriting && this.#watching === undefined) this.#watch()
  }

  /** Whether the program reads this duplex, and has not come to the end. */
  get #isRead(): boolean {
    return !this.readableEnded && (this.readableFlowing !== null || this.listenerCount("readable") > 0)
  }

  /**
   * Whether all that was written is sent, and nothing that arrived is unread. Destroying the duplex is then an end, as
   * closing a TCP connection is: Node destroys connections between two requests without an error.
   */
  get #losesNothing(): boolean {
    if (this.#stream === undefined || this.writableLength > 0 || this.readableLength > 0) return false
    return (this.#stream.resets?.unread() ?? 0) === 0
  }

  #watch(): void {
    this.#watching = this.#fork(this.#stallTimeout.expired)
    this.#watching.addObserver((exit) => {
      this.#watching = undefined
      if (Exit.isFailure(exit)) this.destroy(nodeErrorOf(exit.cause))
    })
  }

  /** Cancels the pending operations. Only `_construct` still calls back, since Node waits for that. */
  #cancelPending(): void {
    if (this.#connecting !== undefined) interruptSoon(this.#connecting)
    this.#reading?.()
    this.#writing?.()
    if (this.#watching !== undefined) interruptSoon(this.#watching)
    this.#unwatchReset?.()
  }

  #locate({ localAddress, remoteAddress }: Pick<MuxStream, "localAddress" | "remoteAddress">): void {
    if (localAddress._tag === "TcpAddress") {
      this.localAddress = localAddress.hostname
      this.localPort = localAddress.port
      this.localFamily = familyOf(localAddress.hostname)
    }
    if (remoteAddress._tag === "TcpAddress") {
      this.remoteAddress = remoteAddress.hostname
      this.remotePort = remoteAddress.port
      this.remoteFamily = familyOf(remoteAddress.hostname)
    }
  }

  #touch(): void {
    clearTimeout(this.#timer)
    if (!this.timeout || this.destroyed) return
    this.#timer = setTimeout(() => this.emit("timeout"), this.timeout)
    this.#timer.unref()
  }
}

/**
 * Reports a failure in a turn of its own, as a `net.Socket` does, since the reader may still process the last chunk.
 * Failures keep their order.
 */
const inOwnTurn = (report: (error: Error) => void, cause: Cause.Cause<unknown>): void => {
  setImmediate(report, nodeErrorOf(cause))
}

const nodeErrorOf = (cause: Cause.Cause<unknown>): Error => toNodeError(Cause.squash(cause))

/** How the duplex ends: a loss of bytes is an abnormal end, as with an interrupted fiber. */
const exitOf = (error: (Error & { readonly code?: unknown }) | null, isWhole: boolean): Exit.Exit<void, Error> => {
  // Node's server answers a malformed or slow request by 400 or 408, and destroys the connection without an end.
  if (/^(HPE_|ERR_HTTP_REQUEST_TIMEOUT)/.test(String(error?.code))) return Exit.void
  if (error !== null) return Exit.fail(error)
  return isWhole ? Exit.void : interrupted
}

/** Node runs a timer with a longer delay after one millisecond. */
const longestTimer = 2 ** 31 - 1

const familyOf = (hostname: string): string => hostname.includes(":") ? "IPv6" : "IPv4"
