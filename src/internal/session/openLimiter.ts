import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { DuplicateStream, OpenError, TerminalError } from "../../WsmuxError.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** An `open` in progress: it waits for its turn, then for the peer's answer, and is settled once. */
export class PendingOpen {
  /** The stream, from its SYN on. */
  stream: StreamProtocol | undefined
  #answer: Either.Either<StreamProtocol, OpenError | DuplicateStream> | undefined
  #resume: ((answer: Either.Either<StreamProtocol, OpenError | DuplicateStream>) => void) | undefined

  /** @param id the id that the caller chose, undefined for the next free one */
  constructor(readonly id: number | undefined) {}

  get settled(): boolean {
    return this.#answer !== undefined
  }

  get failed(): boolean {
    return this.#answer !== undefined && Either.isLeft(this.#answer)
  }

  settle(answer: Either.Either<StreamProtocol, OpenError | DuplicateStream>): void {
    if (this.#answer !== undefined) return
    this.#answer = answer
    this.#resume?.(answer)
  }

  readonly await: Effect.Effect<StreamProtocol, OpenError | DuplicateStream> = Effect.async((resume) => {
    if (this.#answer !== undefined) resume(this.#answer)
    else this.#resume = resume
  })
}

/**
 * Lets a limited number of opens be unanswered by the peer, since too many deadlock a Go session; the rest wait in
 * turn. A place is given back by the peer's answer only: an open that was given up still stands in the peer's backlog.
 */
export class OpenLimiter {
  readonly #limit: number
  readonly #begin: (opening: PendingOpen) => void
  readonly #queue = new Set<PendingOpen>()
  #unanswered = 0

  /** @param begin sends the SYN of an opening whose turn has come */
  constructor(limit: number, begin: (opening: PendingOpen) => void) {
    this.#limit = limit
    this.#begin = begin
  }

  get unanswered(): number {
    return this.#unanswered
  }

  get waiting(): number {
    return this.#queue.size
  }

  add(opening: PendingOpen): void {
    if (this.#unanswered < this.#limit) this.#start(opening)
    else this.#queue.add(opening)
  }

  /** Takes an opening out of the queue; false when its turn had come. */
  remove(opening: PendingOpen): boolean {
    return this.#queue.delete(opening)
  }

  /** The peer has answered one. */
  answered(): void {
    this.#unanswered--
    for (const opening of this.#queue) {
      this.#queue.delete(opening)
      this.#start(opening)
      return
    }
  }

  /** The session is over. */
  fail(cause: TerminalError): void {
    for (const opening of this.#queue) opening.settle(Either.left(cause))
    this.#queue.clear()
  }

  #start(opening: PendingOpen): void {
    this.#unanswered++
    this.#begin(opening)
  }
}
