import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { isMuxStream, type MuxStream } from "../../MuxStream.js"
import type { Options } from "../../NodeDuplex.js"
import type { ReadError, WriteError } from "../../WsmuxError.js"
import { forkInterruptibly } from "./forkInterruptibly.js"
import { toNodeError } from "./nodeError.js"

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
  #stream: MuxStream | undefined
  readonly #leave: Effect.Effect<void>
  readonly #fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>
  readonly #fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  #reading = false
  #timer: NodeJS.Timeout | undefined

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
    this.#fork = forkInterruptibly(runtime)
    if (isMuxStream(connect)) this.#locate(connect)
    this.#connect = isMuxStream(connect) ? Effect.succeed(connect) : connect
  }

  get pending(): boolean {
    return this.connecting
  }

  override _construct(callback: Callback): void {
    if (this.destroyed) return callback()
    this.#run(this.#connect, (stream) => {
      this.#stream = stream
      this.#locate(stream)
      this.connecting = false
      callback()
      if (this.destroyed) return
      this.emit("connect")
      this.emit("ready")
    }, callback)
  }

  override _read(): void {
    if (this.#reading) return
    this.#reading = true
    this.#run(this.#readWhileWanted, () => {
      this.#reading = false
    }, (error) => this.destroy(error ?? undefined))
  }

  /** One chunk after the other in one fiber, for as long as they are taken at once. */
  readonly #readWhileWanted: Effect.Effect<void, ReadError> = Effect.suspend(() =>
    Effect.flatMap(this.#stream!.read, (chunk) => this.#give(chunk) ? this.#readWhileWanted : Effect.void)
  )

  /** Whether the reader wants more. */
  #give(chunk: Option.Option<Uint8Array>): boolean {
    if (this.destroyed) return false
    this.#touch()
    if (Option.isNone(chunk)) return this.push(null)
    const { buffer, byteLength, byteOffset } = chunk.value
    this.bytesRead += byteLength
    return this.push(Buffer.from(buffer, byteOffset, byteLength))
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#send(this.#stream!.write(chunk), chunk.byteLength, callback)
  }

  override _writev(chunks: Array<{ readonly chunk: Buffer }>, callback: Callback): void {
    const buffers = chunks.map(({ chunk }) => chunk)
    this.#send(this.#stream!.writeAll(buffers), buffers.reduce((sum, { byteLength }) => sum + byteLength, 0), callback)
  }

  override _final(callback: Callback): void {
    this.#run(this.#stream!.end, () => callback(), callback)
  }

  /** Node would wait until it is connected. */
  override destroy(error?: Error): this {
    super.destroy(error)
    if (this.connecting) this.#interrupt()
    return this
  }

  override _destroy(error: Error | null, callback: Callback): void {
    clearTimeout(this.#timer)
    this.connecting = false
    this.#interrupt()
    this.#fork(this.#leave).addObserver(() => callback(error))
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
    if (!this.connecting) process.nextTick(() => this.emit("connect"))
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

  #send(write: Effect.Effect<void, WriteError>, size: number, callback: Callback): void {
    this.#run(write, () => {
      this.bytesWritten += size
      this.#touch()
      callback()
    }, callback)
  }

  /** Of what the destruction has interrupted nothing is told, but that it is over where Node waits for that. */
  #run<A>(effect: Effect.Effect<A, unknown>, onSuccess: (value: A) => void, onFailure: Callback): void {
    const fiber = this.#fork(effect)
    this.#fibers.add(fiber)
    fiber.addObserver((exit) => {
      this.#fibers.delete(fiber)
      if (Exit.isSuccess(exit)) onSuccess(exit.value)
      else if (!this.destroyed || !Cause.isInterruptedOnly(exit.cause)) onFailure(toNodeError(Cause.squash(exit.cause)))
      else if (this.connecting) onFailure()
    })
  }

  #interrupt(): void {
    for (const fiber of this.#fibers) fiber.unsafeInterruptAsFork(fiber.id())
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

/** Node takes longer ones for one millisecond. */
const longestTimer = 2 ** 31 - 1

const familyOf = (hostname: string): string => hostname.includes(":") ? "IPv6" : "IPv4"
