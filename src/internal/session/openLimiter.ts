import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { OpenOptions } from "../../SessionOptions.js"
import type { DuplicateStream, LabelsUnsupported, OpenError } from "../../WsmuxError.js"
import { emptyMetadata, type Metadata } from "../wire/metadata.js"
import { type EncodedIntroduction, encodeIntroduction, noIntroduction } from "../wire/record.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** All failures of an open. */
export type AnyOpenError = OpenError | DuplicateStream | LabelsUnsupported

/** An `open` in progress. The open waits for its turn and then for the peer's answer, and is settled once. */
export class PendingOpen {
  /** The id that the caller chose, or undefined for the next free id. */
  readonly id: number | undefined
  label: string
  metadata: Metadata
  /** The label and the metadata, encoded. */
  encoded: EncodedIntroduction
  readonly #labelFallback: boolean
  /** The metadata entry with the span of the open. */
  readonly traceParent: string | undefined
  /** Whether the open is settled before the peer's answer, where the peer allows that. */
  readonly isEarly: boolean
  /** The stream, once its opening is sent. */
  stream: StreamProtocol | undefined
  /** The bytes that the stream may send before the peer's answer. */
  earlyCredit = 0
  #answer: Either.Either<StreamProtocol, AnyOpenError> | undefined
  #resume: ((answer: Either.Either<StreamProtocol, AnyOpenError>) => void) | undefined

  #isOver = false
  readonly #onOver: () => void

  /** @param onOver called when the time-out of the open no longer matters */
  constructor(
    { early = false, id, label = "", labelFallback = false, metadata = emptyMetadata }: OpenOptions,
    traceParent: string | undefined,
    onOver: () => void
  ) {
    this.traceParent = traceParent
    this.#onOver = onOver
    this.id = id
    this.label = label
    this.metadata = metadata
    this.encoded = label === "" && metadata === emptyMetadata ? noIntroduction : encodeIntroduction(label, metadata)
    this.#labelFallback = labelFallback
    this.isEarly = early
  }

  /** Whether only a peer that speaks the dialect can serve the open. */
  get needsDialect(): boolean {
    return this.encoded.label.length > 0 || this.encoded.metadata.length > 0
  }

  /** Leaves out the label and the metadata. Returns false when the caller insists on them. */
  dropLabel(): boolean {
    if (!this.#labelFallback) return false
    this.label = ""
    this.metadata = emptyMetadata
    this.encoded = noIntroduction
    return true
  }

  get settled(): boolean {
    return this.#answer !== undefined
  }

  get failed(): boolean {
    return this.#answer !== undefined && Either.isLeft(this.#answer)
  }

  /** Whether the peer has answered, or the caller no longer waits. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** The peer has answered, or no answer is awaited any more. */
  settle(answer: Either.Either<StreamProtocol, AnyOpenError>): void {
    this.over()
    this.#settle(answer)
  }

  /** Gives the caller the stream before the peer has answered. */
  settleEarly(stream: StreamProtocol): void {
    this.#settle(Either.right(stream))
  }

  over(): void {
    this.#isOver = true
    this.#onOver()
  }

  get await(): Effect.Effect<StreamProtocol, AnyOpenError> {
    return Effect.async((resume) => this.onSettled(resume))
  }

  /** Calls back once with the answer, at once where there is one. */
  onSettled(done: (answer: Either.Either<StreamProtocol, AnyOpenError>) => void): void {
    if (this.#answer !== undefined) done(this.#answer)
    else this.#resume = done
  }

  #settle(answer: Either.Either<StreamProtocol, AnyOpenError>): void {
    if (this.#answer !== undefined) return
    this.#answer = answer
    this.#resume?.(answer)
  }
}

/**
 * Limits the opens that the peer has not answered, because too many deadlock a Go session. Further opens wait in turn.
 * Only the peer's answer frees a place: a cancelled open still takes a place in the peer's backlog.
 */
export class OpenLimiter {
  #limit: number
  readonly #begin: (opening: PendingOpen) => void
  readonly #queue = new Set<PendingOpen>()
  #unanswered = 0

  /** @param begin sends the opening of a stream whose turn has come */
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
    this.#startNext()
  }

  /** Changes how many opens may be unanswered. */
  setLimit(limit: number): void {
    this.#limit = limit
    this.#startNext()
  }

  /** Fails the waiting opens, because the session takes no more of them. */
  fail(cause: OpenError): void {
    for (const opening of this.#queue) opening.settle(Either.left(cause))
    this.#queue.clear()
  }

  #startNext(): void {
    for (const opening of this.#queue) {
      if (this.#unanswered >= this.#limit) return
      this.#queue.delete(opening)
      this.#start(opening)
    }
  }

  #start(opening: PendingOpen): void {
    this.#unanswered++
    this.#begin(opening)
  }
}
