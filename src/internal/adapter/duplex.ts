import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import type * as Net from "node:net"
import { Duplex } from "node:stream"
import { isMuxStream, type MuxStream } from "../../MuxStream.js"
import type { Options } from "../../NodeDuplex.js"
import type { NotConnected, OpenError, ReadError, WriteError } from "../../WsmuxError.js"

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
    this.#fork = Runtime.runFork(runtime)
    if (isMuxStream(connect)) this.#locate(connect)
    this.#connect = isMuxStream(connect) ? Effect.succeed(connect) : connect
  }

  get pending(): boolean {
    return this.connecting
  }

  override _construct(callback: Callback): void {
    this.#run(this.#connect, (stream) => {
      this.#stream = stream
      this.#locate(stream)
      this.connecting = false
      callback()
      if (this.destroyed) return
      this.emit("connect")
      this.emit("ready")
    }, (error) => callback(toNodeError(error)))
  }

  override _read(): void {
    if (this.#reading) return
    this.#reading = true
    this.#run(this.#readWhileWanted, () => {
      this.#reading = false
    }, (error) => this.destroy(toNodeError(error)))
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
    this.#run(this.#stream!.end, () => callback(), (error) => callback(toNodeError(error)))
  }

  override _destroy(error: Error | null, callback: Callback): void {
    clearTimeout(this.#timer)
    for (const fiber of this.#fibers) fiber.unsafeInterruptAsFork(fiber.id())
    this.#fork(this.#leave).addObserver(() => callback(error))
  }

  /** Emits `timeout` when nothing has been read or written for so many milliseconds; 0 turns that off. */
  setTimeout(millis: number, listener?: () => void): this {
    this.timeout = millis
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
    }, (error) => callback(toNodeError(error)))
  }

  /** Nothing is told of an effect that the destruction has interrupted. */
  #run<A, E>(
    effect: Effect.Effect<A, E>,
    onSuccess: (value: A) => void,
    onFailure: (error: E) => void
  ): void {
    const fiber = this.#fork(effect)
    this.#fibers.add(fiber)
    fiber.addObserver((exit) => {
      this.#fibers.delete(fiber)
      if (Exit.isSuccess(exit)) return onSuccess(exit.value)
      const failure = Cause.failureOption(exit.cause)
      if (failure._tag === "Some") onFailure(failure.value)
      else if (!this.destroyed) this.destroy(Cause.squash(exit.cause) as Error)
    })
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

type Failure = ReadError | WriteError | OpenError | NotConnected

/** What Node programs look for in a socket's errors; ours is the cause. */
const toNodeError = (cause: unknown): Error => {
  const code = Predicate.hasProperty(cause, "_tag") ? codeOf(cause as Failure) : "ECONNRESET"
  return Object.assign(new Error(cause instanceof Error ? cause.message : String(cause), { cause }), { code })
}

const codeOf = (error: Failure): string => {
  switch (error._tag) {
    case "AcceptTimeout":
    case "ReadTimeout":
    case "WriteTimeout":
      return "ETIMEDOUT"
    case "NotConnected":
    case "StreamRefused":
      return "ECONNREFUSED"
    case "BrokenPipe":
      return error.operation === "write" ? "EPIPE" : "ECONNRESET"
    default:
      return "ECONNRESET"
  }
}

const familyOf = (hostname: string): string => hostname.includes(":") ? "IPv6" : "IPv4"
