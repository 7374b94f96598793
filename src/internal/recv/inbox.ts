import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import type { ReadError } from "../../WsmuxError.js"
import type { RecvHalf } from "./recvHalf.js"

/** Chunks, and whether the stream has ended behind them. */
type Taken = readonly [messages: Chunk.Chunk<Uint8Array>, done: boolean]

/**
 * A receive half as Effect's mailbox. All state lies in the receive half, so any number of inboxes and readers share
 * it.
 *
 * `takeN` completes with the chunks that are left when the stream ends. A mailbox of Effect 3.22.4 waits without end
 * when it ends with fewer than `n` messages.
 */
export class Inbox extends Effectable.Class<Taken, ReadError>
  implements Mailbox.ReadonlyMailbox<Uint8Array, ReadError>
{
  readonly [Mailbox.ReadonlyTypeId]: Mailbox.ReadonlyTypeId = Mailbox.ReadonlyTypeId
  readonly #recvHalf: RecvHalf

  constructor(recvHalf: RecvHalf) {
    super()
    this.#recvHalf = recvHalf
  }

  get take(): Effect.Effect<Uint8Array, ReadError | Cause.NoSuchElementException> {
    return this.#recvHalf.waitUntil<Uint8Array, ReadError | Cause.NoSuchElementException>(() => {
      const next = this.#recvHalf.take()
      if (next === undefined) return undefined
      if (next === "End") return Exit.fail(new Cause.NoSuchElementException())
      return next instanceof Uint8Array ? Exit.succeed(next) : Exit.fail(next)
    })
  }

  get takeAll(): Effect.Effect<Taken, ReadError> {
    return this.#recvHalf.waitUntil(() => this.#takeMany(Infinity))
  }

  readonly takeN = (n: number): Effect.Effect<Taken, ReadError> =>
    n <= 0
      ? Effect.suspend(() => this.#outcome ?? nothing)
      : this.#recvHalf.waitUntil(() =>
        this.#recvHalf.chunkCount < n && this.#recvHalf.expectsMore ? undefined : this.#takeMany(Math.ceil(n))
      )

  get clear(): Effect.Effect<Chunk.Chunk<Uint8Array>, ReadError> {
    return Effect.suspend(() => {
      const taken = this.#recvHalf.chunkCount > 0 ? this.#takeMany(Infinity) : this.#outcome
      return Exit.map(taken ?? nothing, ([chunks]) => chunks)
    })
  }

  get await(): Effect.Effect<void, ReadError> {
    return this.#recvHalf.waitUntil(() => this.#outcome && Exit.asVoid(this.#outcome))
  }

  get size(): Effect.Effect<Option.Option<number>> {
    return Effect.sync(this.unsafeSize)
  }

  readonly unsafeSize = (): Option.Option<number> =>
    this.#recvHalf.outcome === undefined ? Option.some(this.#recvHalf.chunkCount) : Option.none()

  commit(): Effect.Effect<Taken, ReadError> {
    return this.takeAll
  }

  toJSON(): unknown {
    const { buffered, capacity, chunkCount } = this.#recvHalf
    return { _id: "effect-wsmux/MuxStream/inbox", chunks: chunkCount, bytes: buffered, capacity }
  }

  override toString(): string {
    return Inspectable.format(this.toJSON())
  }

  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }

  /** Takes up to `max` chunks, or tells why none follow; undefined while a reader has to wait. */
  #takeMany(max: number): Exit.Exit<Taken, ReadError> | undefined {
    const taken = this.#recvHalf.takeMany(max)
    if (!Array.isArray(taken)) return taken === undefined ? undefined : exitOf(taken)
    return Exit.succeed([Chunk.unsafeFromArray(taken), this.#recvHalf.outcome === "End"])
  }

  get #outcome(): Exit.Exit<Taken, ReadError> | undefined {
    const { outcome } = this.#recvHalf
    return outcome && exitOf(outcome)
  }
}

const nothing: Exit.Exit<Taken> = Exit.succeed([Chunk.empty(), false])
const done: Exit.Exit<Taken> = Exit.succeed([Chunk.empty(), true])

const exitOf = (outcome: ReadError | "End"): Exit.Exit<Taken, ReadError> =>
  outcome === "End" ? done : Exit.fail(outcome)
