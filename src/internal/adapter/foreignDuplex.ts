import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { DuplexFailure } from "../../WsmuxError.js"
import type { Callbacks, Operations } from "../session/callbacks.js"
import { type Cancel, type Done, later } from "../sync/later.js"
import { Notify } from "../sync/notify.js"
import { SocketReader } from "../tcp/socketReader.js"
import { lossAtEnd, reset } from "../tcp/tcpEnds.js"
import { describe } from "../text/describe.js"

const events = ["end", "drain", "finish"]

/**
 * The operations of a Node duplex. A loss is a failure instead of an end, and a write waits for a slow reader. The
 * platform's adapters of Node streams end them cleanly when their input fails, and do not wait after one chunk.
 *
 * A write that fails keeps the readable side. Node would destroy the duplex, and the answer that lies in the socket,
 * such as the 413 of a server that resets the connection of an upload.
 */
export class ForeignDuplex implements Callbacks<DuplexFailure, DuplexFailure> {
  readonly #duplex: Duplex
  /** Reads a TCP connection. Another duplex is read by Node's `readable` events. */
  readonly #reader: SocketReader | undefined
  /** The operations that wait. Each looks again after every event of the duplex. */
  readonly #changes = new Notify()
  /** The failure of both sides. Buffered bytes are read before it. */
  #failure: DuplexFailure | undefined
  /** The failure of the writable side. An end of the readable side after it may be a loss. */
  #writeFailure: DuplexFailure | undefined
  /** Whether the readable side has ended without a loss. */
  #ended: boolean

  /** Must be called in the turn in which the duplex was made, so that no event is missed. */
  constructor(duplex: Duplex) {
    this.#duplex = duplex
    this.#ended = duplex.readableEnded
    duplex.once("end", this.#onEnd) // before the readers look
    this.#reader = duplex instanceof Net.Socket ? SocketReader.attach(duplex, this.#wake) : undefined
    if (this.#reader === undefined) duplex.on("readable", this.#wake)
    for (const event of events) duplex.on(event, this.#wake)
    if (this.#isConnecting) duplex.once("connect", this.#wake)
    const onError = (cause: Error) => this.#fail(failureOf(cause))
    const onClose = () => {
      duplex.off("error", onError).off("close", onClose)
      this.#fail(closed)
    }
    duplex.on("error", onError).on("close", onClose) // until `close`, since an error without a listener is thrown
    if (duplex.destroyed) this.#fail(closed)
    this.#keepReadable()
  }

  /** Completes once a socket is connected. */
  get connected(): Effect.Effect<void, DuplexFailure> {
    return this.#changes.waitUntil(this.#connected)
  }

  /** The same operations as effects. */
  get operations(): Operations<DuplexFailure> {
    return {
      read: this.#changes.waitUntil(this.unsafeRead), // in the waiting fiber: interruption takes nothing
      write: (chunk) =>
        Effect.suspend(() => {
          this.#begin([chunk])
          return this.#changes.waitUntil(this.#written)
        }),
      end: Effect.suspend(() => {
        this.#beginEnd()
        return this.#changes.waitUntil(this.#finished)
      })
    }
  }

  readonly unsafeRead = (): Exit.Exit<Option.Option<Uint8Array>, DuplexFailure> | undefined => {
    const chunk = this.#take()
    if (chunk !== null) return Exit.succeed(Option.some(chunk))
    const failure = this.#ended ? this.#writeFailure : this.#failure
    if (failure !== undefined) return Exit.fail(failure)
    return this.#ended ? none : undefined
  }

  read(done: Done<Option.Option<Uint8Array>, DuplexFailure>): Cancel {
    return this.#waitFor(this.unsafeRead, done)
  }

  /** Does nothing: a duplex may keep a reference to what it writes. */
  unsafeWrite(): undefined {
    return undefined
  }

  write(chunks: ReadonlyArray<Uint8Array>, done: Done<void, DuplexFailure>): Cancel {
    this.#begin(chunks)
    return this.#waitFor(this.#written, done)
  }

  end(done: Done<void, DuplexFailure>): Cancel {
    this.#beginEnd()
    return this.#waitFor(this.#finished, done)
  }

  onArrival(consume: (bytes: Uint8Array) => boolean): void {
    this.#reader?.onArrival(consume)
  }

  /** Resets a connection that has not ended both ways, so that its peer sees a loss instead of an end. */
  release(done: () => void): void {
    this.#reader?.release()
    for (const event of events) this.#duplex.off(event, this.#wake)
    if (this.#reader === undefined) this.#duplex.off("readable", this.#wake)
    this.#duplex.off("connect", this.#wake).off("end", this.#onEnd)
    reset(this.#duplex, this.#notWritable === undefined, done)
  }

  /** Calls back once a socket is connected. */
  connect(done: Done<void, DuplexFailure>): Cancel {
    return this.#waitFor(this.#connected, done)
  }

  readonly #connected = (): Exit.Exit<void, DuplexFailure> | undefined => {
    if (this.#failure !== undefined) return Exit.fail(this.#failure)
    return this.#isConnecting ? undefined : Exit.void
  }

  #take(): Uint8Array | null {
    if (this.#reader !== undefined) return this.#reader.take() ?? null
    const chunk = this.#duplex.read() as Uint8Array | string | null
    return typeof chunk === "string" ? Buffer.from(chunk) : chunk
  }

  #begin(chunks: ReadonlyArray<Uint8Array>): void {
    if (this.#notWritable !== undefined) return
    for (const chunk of chunks) this.#duplex.write(chunk)
  }

  /** Without `writableLength`, a chunk that the kernel has taken at once would wait for the next turn. */
  readonly #written = (): Exit.Exit<void, DuplexFailure> | undefined => {
    const failure = this.#notWritable
    if (failure !== undefined) return Exit.fail(failure)
    return this.#duplex.writableNeedDrain && this.#duplex.writableLength > 0 ? undefined : Exit.void
  }

  #beginEnd(): void {
    if (this.#notWritable === undefined) this.#duplex.end()
  }

  readonly #finished = (): Exit.Exit<void, DuplexFailure> | undefined => {
    if (this.#duplex.writableFinished) return Exit.void
    return this.#notWritable && Exit.fail(this.#notWritable)
  }

  /** Calls back with the first answer of the poll: at once where there is one, else in a microtask after an event. */
  #waitFor<A>(poll: () => Exit.Exit<A, DuplexFailure> | undefined, done: Done<A, DuplexFailure>): Cancel {
    const answer = poll()
    if (answer !== undefined) {
      done(answer)
      return nothing
    }
    let cancel = nothing
    const wait = () => {
      cancel = later((wake) => this.#changes.add(wake), () => {
        const answer = poll()
        if (answer === undefined) wait()
        else done(answer)
      })
    }
    wait()
    return () => cancel()
  }

  get #isConnecting(): boolean {
    return "connecting" in this.#duplex && this.#duplex.connecting === true
  }

  get #notWritable(): DuplexFailure | undefined {
    return this.#failure ?? this.#writeFailure
  }

  /** Hides failed writes from Node, so that Node reads on to the end of the readable side, or to its failure. */
  #keepReadable(): void {
    const duplex: Implementation = this.#duplex
    const guard = (callback: Callback): Callback => (error) => {
      if (!error || this.#duplex.destroyed) return callback(error)
      this.#writeFailure ??= failureOf(error)
      this.#wake()
    }
    const { _final, _write, _writev } = duplex
    duplex._write = (chunk, encoding, callback) => _write.call(duplex, chunk, encoding, guard(callback))
    if (_writev) duplex._writev = (chunks, callback) => _writev.call(duplex, chunks, guard(callback))
    if (_final) duplex._final = (callback) => _final.call(duplex, guard(callback))
  }

  readonly #onEnd = (): void => {
    const cause = lossAtEnd(this.#duplex)
    if (cause === undefined) this.#ended = true
    else this.#fail(failureOf(cause))
  }

  #fail(failure: DuplexFailure): void {
    this.#failure ??= failure
    this.#wake()
  }

  readonly #wake = (): void => {
    this.#changes.notifyAll()
  }
}

type Callback = (error?: Error | null) => void

/** The methods of a stream that Node calls. Some streams lack the last two. */
type Implementation = Pick<Duplex, "_write"> & Partial<Pick<Duplex, "_writev" | "_final">>

const nothing = (): void => {}

const none = Exit.succeed(Option.none())

/** One for all: an error for each connection that ends would be a stack trace that is never read. */
const closed = new DuplexFailure({ detail: "the duplex is closed" })

const failureOf = (cause: Error): DuplexFailure => new DuplexFailure({ detail: describe(cause), cause })
