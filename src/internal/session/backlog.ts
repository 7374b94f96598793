import { CellMap } from "../sync/cellMap.js"
import { Notify } from "../sync/notify.js"
import { ResetCode } from "../wire/resetCode.js"
import type { Cause, StreamProtocol } from "./streamProtocol.js"

/** Where a backlog gets the time, and what it does with a stream that may not wait. */
export interface BacklogContext {
  /** The monotonic time in milliseconds. */
  readonly now: () => number
  readonly refuse: (stream: StreamProtocol, cause: Cause) => void
}

/**
 * The peer's streams that wait to be accepted, oldest first, and those that wait for a stream.
 *
 * A stream for which an acceptor has been woken does not count. So the session never refuses a burst of opens for which
 * enough acceptors wait. Where such an acceptor is interrupted and the backlog is full, the newest stream is refused. A
 * stream that has waited longer than `timeout` is expired: its opener has timed out.
 */
export class Backlog {
  /** Those that wait for a stream of the peer, first come first served. */
  readonly acceptors = new Notify(() => this.#refuseExcess())
  /** The streams by their ids, with the time of their arrival in milliseconds. */
  readonly #streams = new CellMap<number, { readonly stream: StreamProtocol; readonly since: number }>()
  readonly #capacity: number
  readonly #timeout: number
  readonly #context: BacklogContext

  constructor(capacity: number, timeout: number, context: BacklogContext) {
    this.#capacity = capacity
    this.#timeout = timeout
    this.#context = context
  }

  /** The number of streams for which no acceptor has been woken. */
  get size(): number {
    return Math.max(0, this.#streams.size - this.acceptors.chosen)
  }

  /** Returns whether another stream may come. Refuses the expired streams where the backlog is full. */
  makeRoom(): boolean {
    if (this.acceptors.hasWaitersInTurn || this.size < this.#capacity) return true
    this.#refuseExpired()
    return this.size < this.#capacity
  }

  /** Adds a stream, and wakes an acceptor. */
  add(stream: StreamProtocol): void {
    this.#streams.add(stream.id, { stream, since: this.#context.now() })
    this.acceptors.notifyOne()
  }

  /** Removes the stream. Returns false when the stream is not in the backlog. */
  remove(stream: StreamProtocol): boolean {
    return this.#streams.get(stream.id)?.stream === stream && this.#streams.take(stream.id) !== undefined
  }

  /** Removes and returns the oldest stream whose opener may still wait. Refuses the others. */
  take(): StreamProtocol | undefined {
    this.#refuseExpired()
    const { first } = this.#streams
    if (first === undefined) return undefined
    this.#streams.take(first.stream.id)
    return first.stream
  }

  /** Refuses all streams. */
  refuseAll(cause: Cause): void {
    for (const { stream } of this.#streams.values()) this.#refuse(stream, cause)
  }

  /** Forgets the streams and wakes all acceptors, because the session has ended. */
  close(): void {
    this.#streams.clear()
    this.acceptors.notifyAll()
  }

  #refuseExpired(): void {
    for (let first = this.#streams.first; first !== undefined; first = this.#streams.first) {
      if (this.#context.now() - first.since <= this.#timeout) break
      this.#refuse(first.stream, expired)
    }
  }

  /** Refuses the newest streams beyond the capacity. */
  #refuseExcess(): void {
    const count = this.size - this.#capacity
    if (count <= 0) return
    for (const { stream } of this.#streams.values().slice(-count)) this.#refuse(stream, excess)
  }

  #refuse(stream: StreamProtocol, cause: Cause): void {
    this.#streams.take(stream.id)
    this.#context.refuse(stream, cause)
  }
}

const expired: Cause = { code: ResetCode.Expired, reason: "no acceptor took it within backlogTimeout" }
const excess: Cause = {
  code: ResetCode.Refused,
  reason: "its acceptor was interrupted, and the backlog is full (acceptBacklog)"
}
