import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import type { Operations } from "../../ByteStream.js"
import { DuplexFailure } from "../../WsmuxError.js"

const events = ["connect", "readable", "end", "drain", "finish"]

/**
 * A Node duplex that tells an end from a loss, and whose writer waits for a slow reader. (The platform's adapters of node
 * streams end them cleanly when their input fails, and never wait behind a single chunk.)
 */
export class ForeignDuplex implements Operations<DuplexFailure> {
  readonly #duplex: Duplex
  /** What waits for the duplex: each is asked again at every event. */
  readonly #wakers = new Set<() => void>()
  #failure: DuplexFailure | undefined

  /** Call it in the turn in which the duplex was made, so that no event is missed. */
  constructor(duplex: Duplex) {
    this.#duplex = duplex
    for (const event of events) duplex.on(event, this.#wake)
    const onError = (cause: Error) => this.#fail(new DuplexFailure({ detail: reasonOf(cause), cause }))
    const onClose = () => {
      duplex.off("error", onError).off("close", onClose)
      this.#fail(new DuplexFailure({ detail: "it is closed" }))
    }
    duplex.on("error", onError).on("close", onClose) // until it is closed: an error that nobody listens to is thrown
    if (duplex.destroyed) this.#fail(new DuplexFailure({ detail: "it is closed" }))
  }

  /** Waits until a socket is connected. */
  readonly connected: Effect.Effect<void, DuplexFailure> = Effect.suspend(() =>
    this.#until(() => "connecting" in this.#duplex && this.#duplex.connecting ? Option.none() : Option.some(undefined))
  )

  readonly read: Effect.Effect<Option.Option<Uint8Array>, DuplexFailure> = Effect.suspend(() =>
    this.#until(() => {
      const chunk = this.#duplex.read() as Uint8Array | string | null
      if (chunk !== null) return Option.some(Option.some(typeof chunk === "string" ? Buffer.from(chunk) : chunk))
      return this.#duplex.readableEnded ? Option.some(Option.none()) : Option.none()
    })
  )

  readonly write = (chunk: Uint8Array): Effect.Effect<void, DuplexFailure> =>
    Effect.suspend(() => {
      if (this.#failure !== undefined) return Effect.fail(this.#failure)
      if (this.#duplex.write(chunk)) return Effect.void
      return this.#until(() => this.#duplex.writableNeedDrain ? Option.none() : Option.some(undefined))
    })

  readonly end: Effect.Effect<void, DuplexFailure> = Effect.suspend(() => {
    if (this.#failure === undefined) this.#duplex.end()
    return this.#until(() => this.#duplex.writableFinished ? Option.some(undefined) : Option.none())
  })

  /** Resets a connection that has not come to its end both ways, so that nobody takes a loss for an end. */
  readonly release: Effect.Effect<void> = Effect.sync(() => {
    for (const event of events) this.#duplex.off(event, this.#wake)
    if (this.#duplex.destroyed) return
    if ("resetAndDestroy" in this.#duplex) (this.#duplex.resetAndDestroy as () => void)()
    else this.#duplex.destroy()
  })

  #until<A>(poll: () => Option.Option<A>): Effect.Effect<A, DuplexFailure> {
    return Effect.async((resume) => {
      const waker = () => {
        // A failed duplex has nothing more to take or to give, but an end that was read stays one.
        const answer = this.#failure === undefined || this.#duplex.readableEnded ? poll() : Option.none()
        if (Option.isNone(answer) && this.#failure === undefined) return
        this.#wakers.delete(waker)
        resume(Option.isSome(answer) ? Effect.succeed(answer.value) : Effect.fail(this.#failure!))
      }
      this.#wakers.add(waker)
      waker()
      return Effect.sync(() => this.#wakers.delete(waker))
    })
  }

  #fail(failure: DuplexFailure): void {
    this.#failure ??= failure
    this.#wake()
  }

  readonly #wake = (): void => {
    for (const waker of [...this.#wakers]) waker()
  }
}

/** Node hides the reasons of a failed connection to several addresses in an AggregateError without a message. */
const reasonOf = (error: Error): string =>
  error instanceof AggregateError ? error.errors.map((inner: Error) => inner.message).join(", ") : error.message
