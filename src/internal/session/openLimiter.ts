import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { DuplicateStream, OpenError, TerminalError } from "../../WsmuxError.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** An `open` in progress. The open waits for its turn and then for the peer's answer, and is settled once. */
export class PendingOpen {
  /** The stream, once its SYN is sent. */
  stream: StreamProtocol | undefined
  #answer: Either.Either<StreamProtocol, OpenError | DuplicateStream> | undefined
  #resume: ((answer: Either.Either<StreamProtocol, OpenError | DuplicateStream>) => void) | undefined

  /** @param id the id that the caller chose, or undefined for the next free id */
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

  readonly await: Effect.Effect<StreamProtocol, OpenError | DuplicateStream> = Effect.async((resume) =>
    this.onSettled(resume)
  )

  /** Calls back once with the answer, at once where there is one. */
  onSettled(done: (answer: Either.Either<StreamProtocol, OpenError | DuplicateStream>) => void): void {
    if (this.#answer !== undefined) done(this.#answer)
    else this.#resume = done
  }
}

/**
 * Limits the opens that the peer has not answered, because too many deadlock a Go session. Further opens wait in turn.
 * Only the peer's answer frees a place: a cancelled open still takes a place in the peer's backlog.
 */
export class OpenLimiter {
  readonly #limit: number
  readonly #begin: (opening: PendingOpen) => void
  readonly #queue = new Set<PendingOpen>()
  #unanswered = 0

  /** @param begin sends the SYN of an open whose turn has come */
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

  /** Removes an open from the queue. Returns false when its turn had come. */
  remove(opening: PendingOpen): boolean {
    return this.#queue.delete(opening)
  }

  /** Frees the place of an open that the peer has answered. */
  answered(): void {
    this.#unanswered--
    for (const opening of this.#queue) {
      this.#queue.delete(opening)
      this.#start(opening)
      return
    }
  }

  /** Fails the waiting opens, because the session has ended. */
  fail(cause: TerminalError): void {
    for (const opening of this.#queue) opening.settle(Either.left(cause))
    this.#queue.clear()
  }

  #start(opening: PendingOpen): void {
    this.#unanswered++
    this.#begin(opening)
  }
}
