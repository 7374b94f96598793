import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import type { Operations } from "../../ByteStream.js"
import { DuplexFailure } from "../../WsmuxError.js"
import { lossAtEnd, reset } from "./tcpEnds.js"

const events = ["connect", "readable", "end", "drain", "finish"]

/**
 * A Node duplex that tells an end from a loss, and whose writer waits for a slow reader. (The platform's adapters of node
 * streams end them cleanly when their input fails, and never wait behind a single chunk.)
 *
 * A write that fails leaves the reading side as it is: Node would destroy the duplex, and with it an answer that lies in
 * the socket, such as the 413 of a server that resets the connection of an upload.
 */
export class ForeignDuplex implements Operations<DuplexFailure> {
  readonly #duplex: Duplex
  /** What waits for the duplex: each is asked again at every event. */
  readonly #wakers = new Set<() => void>()
  /** Why there is nothing more to read beyond what is buffered, and nothing more to write. */
  #failure: DuplexFailure | undefined
  /** Why there is nothing more to write. An end that comes afterwards may be a loss. */
  #writeFailure: DuplexFailure | undefined
  /** Whether the end was a true one. */
  #ended: boolean

  /** Call it in the turn in which the duplex was made, so that no event is missed. */
  constructor(duplex: Duplex) {
    this.#duplex = duplex
    this.#ended = duplex.readableEnded
    duplex.once("end", this.#onEnd) // before the readers are asked
    for (const event of events) duplex.on(event, this.#wake)
    const onError = (cause: Error) => this.#fail(failureOf(cause))
    const onClose = () => {
      duplex.off("error", onError).off("close", onClose)
      this.#fail(new DuplexFailure({ detail: "it is closed" }))
    }
    duplex.on("error", onError).on("close", onClose) // until it is closed: an error that nobody listens to is thrown
    if (duplex.destroyed) this.#fail(new DuplexFailure({ detail: "it is closed" }))
    this.#keepReadable()
  }

  /** Waits until a socket is connected. */
  readonly connected: Effect.Effect<void, DuplexFailure> = Effect.suspend(() =>
    this.#until(() => this.#failure ?? (this.#isConnecting ? undefined : nothing))
  )

  readonly read: Effect.Effect<Option.Option<Uint8Array>, DuplexFailure> = Effect.suspend(() =>
    this.#until(() => {
      const chunk = this.#duplex.read() as Uint8Array | string | null
      if (chunk !== null) return Effect.succeedSome(typeof chunk === "string" ? Buffer.from(chunk) : chunk)
      return this.#ended ? this.#writeFailure ?? Effect.succeedNone : this.#failure
    })
  )

  readonly write = (chunk: Uint8Array): Effect.Effect<void, DuplexFailure> =>
    Effect.suspend(() => {
      const failure = this.#notWritable
      if (failure !== undefined) return failure
      if (this.#duplex.write(chunk)) return Effect.void
      return this.#until(() => this.#notWritable ?? (this.#duplex.writableNeedDrain ? undefined : nothing))
    })

  readonly end: Effect.Effect<void, DuplexFailure> = Effect.suspend(() => {
    if (this.#notWritable === undefined) this.#duplex.end()
    return this.#until(() => this.#duplex.writableFinished ? nothing : this.#notWritable)
  })

  /** Resets a connection that has not come to its end both ways, so that nobody takes a loss for an end. */
  readonly release: Effect.Effect<void> = Effect.suspend(() => {
    for (const event of events) this.#duplex.off(event, this.#wake)
    this.#duplex.off("end", this.#onEnd)
    return reset(this.#duplex, this.#notWritable === undefined)
  })

  get #isConnecting(): boolean {
    return "connecting" in this.#duplex && this.#duplex.connecting === true
  }

  get #notWritable(): DuplexFailure | undefined {
    return this.#failure ?? this.#writeFailure
  }

  /** Node's machinery is not told of a write that fails, so it goes on with reading, up to the end or a failure there. */
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

  #until<A>(poll: () => Effect.Effect<A, DuplexFailure> | undefined): Effect.Effect<A, DuplexFailure> {
    return Effect.async((resume) => {
      const waker = () => {
        const answer = poll()
        if (answer === undefined) return
        this.#wakers.delete(waker)
        resume(answer)
      }
      this.#wakers.add(waker)
      waker()
      return Effect.sync(() => this.#wakers.delete(waker))
    })
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
    for (const waker of [...this.#wakers]) waker()
  }
}

type Callback = (error?: Error | null) => void

/** What Node calls of a stream. Some streams have neither of the last two. */
type Implementation = Pick<Duplex, "_write"> & Partial<Pick<Duplex, "_writev" | "_final">>

const nothing = Effect.void

const failureOf = (cause: Error): DuplexFailure => new DuplexFailure({ detail: reasonOf(cause), cause })

/** Node hides the reasons of a failed connection to several addresses in an AggregateError without a message. */
const reasonOf = (error: Error): string =>
  error instanceof AggregateError ? error.errors.map((inner: Error) => inner.message).join(", ") : error.message
