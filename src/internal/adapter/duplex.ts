import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { isMuxStream, type MuxStream } from "../../MuxStream.js"
import type { Options } from "../../NodeDuplex.js"
import type { ReadError, Stalled } from "../../WsmuxError.js"
import { type Callbacks, type Cancel, toCallbacks } from "../session/callbacks.js"
import { forkInterruptibly } from "./forkInterruptibly.js"
import { toNodeError } from "./nodeError.js"
import { Patience } from "./stallTimeout.js"

const notAStream = "not a MuxStream: a copy by { ...stream } lacks the operations, MuxStream.withOperations keeps them"

type Next = Exit.Exit<Option.Option<Uint8Array>, ReadError>
type Callback = (error?: Error | null) => void

/**
 * A `MuxStream` as a `Duplex` that looks like a `net.Socket`, as far as `node:http`, `node:tls` and database drivers ask.
 * It holds one chunk at most that nobody has read, so that the window stays the only buffer, and it destroys itself when
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
  readonly #leave: Effect.Effect<void>
  readonly #fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>
  /** What it waits for: its stream, a chunk, and that a write or the end is handed over. */
  #connecting: Fiber.RuntimeFiber<MuxStream, unknown> | undefined
  #stream: Callbacks | undefined
  #reading: Cancel | undefined
  #writing: Cancel | undefined
  #wanted = false
  #giving = false
  #timer: NodeJS.Timeout | undefined
  /** Gives up on a peer that has ended its half and takes nothing more; runs while a write waits. */
  readonly #patience: Patience
  #watching: Fiber.RuntimeFiber<void, Stalled> | undefined

  /**
   * @param connect gives the stream, while reading and writing wait
   * @param leave run once when it is destroyed
   * @param runtime of the program that runs its effects
   */
  constructor(
    connect: MuxStream | Effect.Effect<MuxStream, unknown>,
    leave: Effect.Effect<void>,
    runtime: Runtime.Runtime<never>,
    options: Options
  ) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? true,
      readableHighWaterMark: 1, // one chunk, whatever its size
      writableHighWaterMark: options.writableHighWaterMark ?? 64 * 1024
    })
    this.#leave = leave
    this.#patience = new Patience(options.patience)
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
        const isGivenUp = this.destroyed && Cause.isInterruptedOnly(exit.cause)
        return callback(isGivenUp ? null : nodeErrorOf(exit.cause))
      }
      if (!isMuxStream(exit.value)) return callback(new TypeError(notAStream))
      this.#stream = toCallbacks(exit.value, this.#fork)
      this.#patience.stream = exit.value
      this.#locate(exit.value)
      this.connecting = false
      callback()
      if (this.destroyed) return
      this.emit("connect")
      this.emit("ready")
    })
  }

  override _read(): void {
    this.#wanted = true
    if (!this.#giving && this.#reading === undefined) this.#readOn()
  }

  /** Gives what is there for as long as it is wanted, and then waits for more. */
  #readOn(): void {
    while (this.#wanted && !this.destroyed) {
      const next = this.#stream!.unsafeRead()
      if (next === undefined) {
        this.#reading = this.#stream!.read((next) => {
          this.#reading = undefined
          this.#give(next)
          this.#readOn()
        })
        return
      }
      this.#give(next)
    }
  }

  /** Whoever is given something may ask for more before that returns. */
  #give(next: Next): void {
    this.#wanted = false
    this.#giving = true
    try {
      if (this.#push(next)) this.#wanted = true
    } catch (error) {
      this.destroy(error as Error) // nobody would ask for more
    } finally {
      this.#giving = false
    }
  }

  /** Whether the reader wants more. */
  #push(next: Next): boolean {
    if (this.destroyed) return false
    if (Exit.isFailure(next)) {
      inOwnTurn((error) => this.destroy(error), next.cause)
      return false
    }
    this.#touch()
    if (Option.isNone(next.value)) {
      this.#patience.peerEnded = true
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
    this.#writing = this.#stream!.end((exit) => Exit.isFailure(exit) ? inOwnTurn(callback, exit.cause) : callback())
  }

  /** Node would wait until it is connected. */
  override destroy(error?: Error): this {
    super.destroy(error)
    if (this.connecting) this.#giveUp()
    return this
  }

  override _destroy(error: Error | null, callback: Callback): void {
    clearTimeout(this.#timer)
    this.connecting = false
    this.#giveUp()
    // An error is emitted first in a turn of its own, as a socket's is: Node's http client takes its listener off a
    // connection a tick before its agent puts on another.
    this.#fork(this.#leave).addObserver(() => error === null ? callback() : setImmediate(callback, error))
  }

  /** Emits `timeout` when nothing has been read or written for so many milliseconds; 0 turns that off. */
  setTimeout(millis: number, listener?: () => void): this {
    if (!(millis >= 0 && millis < Infinity)) throw new RangeError(`not a time to wait: ${millis}`)
    this.timeout = Math.min(millis, longestTimer)
    if (listener !== undefined) {
      if (millis > 0) this.once("timeout", listener)
      else this.off("timeout", listener)
    }
    this.#touch()
    return this
  }

  /** Ends it, and destroys it once everything is written. */
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

  /** For drivers that connect the socket they are given: it does so by itself, and tells again if it has. */
  connect(): this {
    if (!this.connecting && !this.destroyed) process.nextTick(() => this.emit("connect"))
    return this
  }

  // A stream has neither: frames leave at once, the session keeps itself alive, and nothing here holds the process up.

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
    this.#patience.begin()
    this.#writing = this.#stream!.write(chunks, (exit) => {
      this.#patience.done()
      if (Exit.isFailure(exit)) return inOwnTurn(callback, exit.cause)
      this.bytesWritten += size
      this.#touch()
      callback()
    })
    if (this.#patience.isWriting && this.#watching === undefined) this.#watch()
  }

  #watch(): void {
    this.#watching = this.#fork(this.#patience.exhaustedWhileWriting)
    this.#watching.addObserver((exit) => {
      this.#watching = undefined
      if (Exit.isFailure(exit)) this.destroy(nodeErrorOf(exit.cause))
    })
  }

  /** Of what the destruction gives up nothing is told, but that it is over where Node waits for that. */
  #giveUp(): void {
    this.#connecting?.unsafeInterruptAsFork(FiberId.none)
    this.#reading?.()
    this.#writing?.()
    this.#watching?.unsafeInterruptAsFork(FiberId.none)
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
 * Tells a failure in a turn of the event loop of its own, as the failures of a `net.Socket` come: the reader may still be
 * in the middle of the last chunk. Failures keep their order, so what a reader meets comes before what a writer meets.
 */
const inOwnTurn = (tell: (error: Error) => void, cause: Cause.Cause<unknown>): void => {
  setImmediate(tell, nodeErrorOf(cause))
}

const nodeErrorOf = (cause: Cause.Cause<unknown>): Error => toNodeError(Cause.squash(cause))

/** Node takes longer ones for one millisecond. */
const longestTimer = 2 ** 31 - 1

const familyOf = (hostname: string): string => hostname.includes(":") ? "IPv6" : "IPv4"
