import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import type { Operations } from "../../ByteStream.js"
import { DuplexFailure } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"
import { describe } from "../text/errorText.js"
import { lossAtEnd, reset } from "./tcpEnds.js"

const events = ["connect", "readable", "end", "drain", "finish"]

/**
 * A Node duplex as the operations of a `ByteStream`. A loss is a failure instead of an end, and a write waits for a
 * slow reader. The platform's adapters of Node streams end them cleanly when their input fails, and do not wait after
 * one chunk.
 *
 * A write that fails keeps the readable side. Node would destroy the duplex, and the answer that lies in the socket,
 * such as the 413 of a server that resets the connection of an upload.
 */
export class ForeignDuplex implements Operations<DuplexFailure> {
  readonly #duplex: Duplex
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
    for (const event of events) duplex.on(event, this.#wake)
    const onError = (cause: Error) => this.#fail(failureOf(cause))
    const onClose = () => {
      duplex.off("error", onError).off("close", onClose)
      this.#fail(new DuplexFailure({ detail: "the duplex is closed" }))
    }
    duplex.on("error", onError).on("close", onClose) // until `close`, since an error without a listener is thrown
    if (duplex.destroyed) this.#fail(new DuplexFailure({ detail: "the duplex is closed" }))
    this.#keepReadable()
  }

  /** Completes once a socket is connected. */
  readonly connected: Effect.Effect<void, DuplexFailure> = Effect.suspend(() =>
    this.#waitUntil(() => this.#failure ?? (this.#isConnecting ? undefined : nothing))
  )

  readonly read: Effect.Effect<Option.Option<Uint8Array>, DuplexFailure> = Effect.suspend(() =>
    this.#waitUntil(() => {
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
      return this.#waitUntil(() => this.#notWritable ?? (this.#duplex.writableNeedDrain ? undefined : nothing))
    })

  readonly end: Effect.Effect<void, DuplexFailure> = Effect.suspend(() => {
    if (this.#notWritable === undefined) this.#duplex.end()
    return this.#waitUntil(() => this.#duplex.writableFinished ? nothing : this.#notWritable)
  })

  /** Resets a connection that has not ended both ways, so that its peer sees a loss instead of an end. */
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

  /** The poll runs in the waiting fiber, so interruption while waiting takes no bytes. */
  #waitUntil<A>(poll: () => Effect.Effect<A, DuplexFailure> | undefined): Effect.Effect<A, DuplexFailure> {
    return this.#changes.waitUntil(poll)
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

const nothing = Effect.void

const failureOf = (cause: Error): DuplexFailure => new DuplexFailure({ detail: describe(cause), cause })
