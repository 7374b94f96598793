import * as Either from "effect/Either"
import {
  type AcceptTimeout,
  DuplicateStream,
  LabelsUnsupported,
  type OpenError,
  type SessionDraining,
  StreamRefused,
  type TerminalError
} from "../../WsmuxError.js"
import { CellMap } from "../sync/cellMap.js"
import * as Frame from "../wire/frame.js"
import { encodeMetadata } from "../wire/metadata.js"
import * as Record from "../wire/record.js"
import { ResetCode } from "../wire/resetCode.js"
import { StreamIds } from "../wire/streamIds.js"
import type { Host } from "./host.js"
import { OpenLimiter, type PendingOpen } from "./openLimiter.js"
import { type Cause, StreamProtocol } from "./streamProtocol.js"

/** The streams that this end opens, from the call of `open` until the peer has answered. */
export class OwnStreams {
  readonly #host: Host
  readonly #ids: StreamIds
  readonly #limiter: OpenLimiter
  /** The opens that the peer has not answered, by the ids of their streams. */
  readonly #openings = new CellMap<number, PendingOpen>()
  /** The opens that need the dialect, until the peer's first message decides about it. */
  readonly #undecided = new Set<PendingOpen>()
  /** The early credit of the streams that are not accepted. */
  #earlyCredit = 0

  constructor(host: Host) {
    this.#host = host
    this.#ids = new StreamIds(host.role)
    this.#limiter = new OpenLimiter(host.settings.maxUnacknowledgedOpens, (opening) => this.#send(opening))
  }

  get unanswered(): number {
    return this.#limiter.unanswered
  }

  get waiting(): number {
    return this.#limiter.waiting + this.#undecided.size
  }

  /** Whether an id belongs to this end's role. */
  isOurs(id: number): boolean {
    return this.#ids.isOurs(id)
  }

  /** Starts an open. Settles it with an error when the session is over or drains, or the id is taken. */
  open(opening: PendingOpen): void {
    const failure = this.#host.terminal ?? this.#host.noOpens
    if (failure !== undefined) return opening.settle(Either.left(failure))
    if (opening.id !== undefined && !this.#reserve(opening.id)) {
      return opening.settle(Either.left(new DuplicateStream({ streamId: opening.id })))
    }
    if (opening.needsDialect && this.#host.dialect.isUndecided && !opening.dropLabel()) this.#undecided.add(opening)
    else this.#begin(opening)
  }

  /** Begins the opens that waited for the peer's first message. */
  decided(): void {
    const { peer } = this.#host.dialect
    // Only a Go peer deadlocks when its backlog overflows. Another peer tells how many opens may wait.
    if (peer?.backlog !== undefined) this.#limiter.setLimit(Math.max(peer.backlog, 1))
    for (const opening of this.#undecided) {
      this.#undecided.delete(opening)
      this.#begin(opening)
    }
  }

  /** Cancels an open in any state: waiting for its turn, waiting for the peer's answer, or with a stream. */
  cancel(opening: PendingOpen): void {
    const stream = opening.stream
    if (opening.failed) return
    opening.over()
    if (stream === undefined) {
      const isWaiting = this.#undecided.delete(opening) || this.#limiter.remove(opening)
      if (isWaiting && opening.id !== undefined) this.#ids.release(opening.id)
    } else if (this.#openings.get(stream.id) === opening) {
      stream.cancel()
    } else {
      stream.reset({ code: ResetCode.Cancelled, reason: "" })
    }
  }

  /** The time of an open is over: cancels it, and settles it with the error. */
  expire(opening: PendingOpen, error: AcceptTimeout): void {
    if (opening.settled) {
      // An early open has its stream. The stream fails in place of the open.
      opening.stream?.reset({ code: ResetCode.Expired, reason: error.message })
      return
    }
    const isUndecided = this.#undecided.has(opening)
    this.cancel(opening)
    opening.settle(Either.left(isUndecided ? new LabelsUnsupported({ detail: noDialect }) : error))
  }

  /** The peer has accepted one of this end's streams. */
  recvAccept(stream: StreamProtocol, credit: number): void {
    const beyond = stream.recvAccept(credit)
    if (beyond > 0) this.#warnOfWindow({ peerWindow: credit, window: credit - beyond, streamId: stream.id })
    this.#host.counters.opened++
    this.#answered(stream, Either.right(stream))
  }

  /** The peer has refused one of this end's streams. */
  refused(stream: StreamProtocol, why: Cause | undefined): void {
    const { peerDraining } = this.#host
    const details = why === undefined ? {} : { code: why.code, reason: why.reason }
    const failure = why?.code === ResetCode.Draining && peerDraining !== undefined
      ? peerDraining // the opening has crossed the peer's GOAWAY
      : new StreamRefused({ streamId: stream.id, ...details })
    this.#answered(stream, Either.left(failure))
  }

  /** Fails the opens that wait for their turn, because an end drains the session or the session has ended. */
  failWaiting(error: SessionDraining | TerminalError): void {
    this.#limiter.fail(error)
    for (const opening of this.#undecided) opening.settle(Either.left(error))
    this.#undecided.clear()
  }

  /** Fails all opens, because the session has ended, perhaps by a drain. */
  fail(error: SessionDraining | TerminalError): void {
    this.failWaiting(error)
    for (const opening of this.#openings.clear()) opening.settle(Either.left(error))
  }

  #answered(stream: StreamProtocol, answer: Either.Either<StreamProtocol, OpenError>): void {
    const opening = this.#openings.get(stream.id)
    if (opening?.stream !== stream) return
    this.#openings.take(stream.id)
    this.#earlyCredit -= opening.earlyCredit
    this.#limiter.answered()
    opening.settle(answer)
  }

  #begin(opening: PendingOpen): void {
    const detail = opening.needsDialect ? this.#whyUnsupported(opening.encoded) : undefined
    if (detail === undefined || opening.dropLabel()) return this.#limiter.add(opening)
    if (opening.id !== undefined) this.#ids.release(opening.id)
    opening.settle(Either.left(new LabelsUnsupported({ detail })))
  }

  /** Why the peer cannot take a label and metadata. Undefined when it can. */
  #whyUnsupported({ label, metadata }: Record.EncodedIntroduction): string | undefined {
    const { dialect } = this.#host
    if (!dialect.has(Record.Feature.open)) return noDialect
    const longest = dialect.peer?.longest ?? unlimited
    return label.length > longest.label || metadata.length > longest.metadata
      ? `the peer takes labels of at most ${longest.label} bytes, and metadata of at most ${longest.metadata}`
      : undefined
  }

  #send(opening: PendingOpen): void {
    const { dialect, log, memory, scheduler, settings, streamContext, streams } = this.#host
    const id = opening.id ?? this.#ids.take((id) => streams.has(id))
    const window = settings.streamBufferSize
    memory.bookOwn(window)
    const isNative = dialect.has(Record.Feature.open)
    const early = isNative ? dialect.peer?.earlyCredit ?? noEarlyCredit : noEarlyCredit
    opening.earlyCredit = opening.isEarly && this.#earlyCredit + early.perStream <= early.inAll ? early.perStream : 0
    this.#earlyCredit += opening.earlyCredit
    const stream = new StreamProtocol({
      id,
      state: "Opening",
      window,
      credit: opening.earlyCredit,
      heldCredit: early.perStream - opening.earlyCredit,
      label: opening.label,
      metadata: opening.metadata
    }, streamContext)
    // The stream is registered before its opening is sent, because the answer may come at any time.
    streams.add(id, stream)
    this.#openings.add(id, opening)
    opening.stream = stream
    scheduler.sendControl(isNative ? Record.encodeOpen(id, window, this.#introduce(opening)) : Frame.syn(id))
    log.debug("opening a stream", { streamId: id, ...(opening.label === "" ? {} : { label: opening.label }) })
    if (isNative && opening.isEarly) opening.settleEarly(stream)
  }

  /** Adds the span of the open to what the caller tells about the stream, unless the peer takes no more metadata. */
  #introduce({ encoded, metadata, traceParent }: PendingOpen): Record.EncodedIntroduction {
    if (traceParent === undefined || metadata.traceparent !== undefined) return encoded
    const traced = encodeMetadata({ ...metadata, traceparent: traceParent })
    const most = Math.min(this.#host.dialect.peer?.longest?.metadata ?? 0, Record.maxMetadata)
    return traced.length > most ? encoded : { label: encoded.label, metadata: traced }
  }

  #warnOfWindow(annotations: object): void {
    this.#host.log.fault(
      "Warning",
      "the peer believes in a larger window than this end stores: a slow reader will fail with NoCapacity; " +
        "give both ends the same streamBufferSize, or raise maxPeerWindow",
      annotations
    )
  }

  #reserve(id: number): boolean {
    if (!Number.isInteger(id) || id < 0 || id >= Record.reservedId || !this.#ids.isOurs(id)) {
      throw new RangeError(`cannot open stream ${id}: it is not an id of the ${this.#host.role} role`)
    }
    return this.#ids.reserve(id, (id) => this.#host.streams.has(id))
  }
}

const noDialect = "the peer does not speak the dialect"
const unlimited = { label: Infinity, metadata: Infinity }
const noEarlyCredit = { perStream: 0, inAll: 0 }
