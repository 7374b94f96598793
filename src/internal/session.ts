import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import * as Frame from "../Frame.js"
import type { SessionSnapshot } from "../Session.js"
import type { Settings } from "../SessionConfig.js"
import type { End, Listener, Transport } from "../Transport.js"
import {
  type AcceptTimeout,
  DuplicateStream,
  MalformedFrame,
  PeerFlood,
  SessionClosed,
  StreamRefused,
  type TerminalError,
  TransportFailure,
  UnexpectedText,
  WrongParity
} from "../WsmuxError.js"
import { Counters } from "./counters.js"
import type { Flight } from "./flight.js"
import type { Journal } from "./journal.js"
import { type Opening, Opens } from "./opens.js"
import { Outbox } from "./outbox.js"
import { type StreamLink, StreamState } from "./stream.js"
import { type Role, StreamIds } from "./streamIds.js"
import { WaitList } from "./waitList.js"
import type { WindowTuner } from "./windowTuner.js"

/**
 * The protocol of a session: frames in, frames out, and the streams between. All of it is synchronous, on the transport's
 * callbacks or in a step of the calling fiber; the first terminal error is final from the moment it is set.
 */
export class SessionState implements Listener {
  readonly counters = new Counters()
  readonly outbox: Outbox
  readonly opens: Opens
  /** Completed with the first terminal error, in the step in which it happens. */
  readonly terminated = Deferred.unsafeMake<TerminalError>(FiberId.none)
  /** Whether the transport has reported its end. */
  transportEnded = false
  readonly #settings: Settings
  readonly #tuner: WindowTuner | undefined
  readonly #ids: StreamIds
  readonly #link: StreamLink
  readonly #streams = new Map<number, StreamState>()
  /** The peer's streams that wait to be accepted, in the order of their SYNs. */
  readonly #backlog = new Set<StreamState>()
  readonly #acceptors = new WaitList()
  readonly #openings = new Map<StreamState, Opening>()
  /** How large the windows are together that the peer's streams have, or get when they are accepted. */
  #given = 0
  #terminal: TerminalError | undefined

  constructor(
    readonly role: Role,
    settings: Settings,
    transport: Transport,
    readonly journal: Journal,
    tuner: WindowTuner | undefined,
    flight: Flight | undefined
  ) {
    this.#settings = settings
    this.#tuner = tuner
    this.#ids = new StreamIds(role)
    this.outbox = new Outbox(transport, settings.maxFrameSize, this.counters, flight)
    this.opens = new Opens(settings.maxUnacknowledgedOpens, (opening) => this.#sendOpen(opening))
    this.#link = {
      maxPeerWindow: settings.maxPeerWindow,
      drainBudget: settings.drainBudget,
      schedule: (sender) => this.outbox.schedule(sender),
      isClear: (size) => this.outbox.isClear(size),
      stalled: () => this.counters.stalls++,
      sendNow: (frame) => this.outbox.sendNow(frame),
      sendControl: (frame) => this.outbox.sendControl(frame),
      sendCredit: (id, bytes) => this.outbox.sendCredit(id, bytes),
      tuner,
      over: (stream) => this.#forget(stream)
    }
  }

  get terminal(): TerminalError | undefined {
    return this.#terminal
  }

  // The four events of the transport.

  onMessage(message: Uint8Array): void {
    if (this.#terminal !== undefined) return
    const frame = Frame.decode(message)
    switch (frame._tag) {
      case "Dat":
        return this.#recvDat(frame)
      case "Ack":
        return this.#recvAck(frame)
      case "Syn":
        return this.#recvSyn(frame)
      case "Fin":
        return this.#recvFin(frame)
      case "Malformed":
        return this.terminate(new MalformedFrame({ fault: frame.fault, detail: frame.detail }))
    }
  }

  onText(): void {
    this.terminate(new UnexpectedText())
  }

  onWritable(): void {
    this.outbox.flush()
  }

  onClose(end: End): void {
    this.transportEnded = true
    this.outbox.discard()
    // 1006 means that no close frame came: that is a loss, never a clean end, though Go peers know no other.
    this.terminate(
      end.code === 1006 || end.cause !== undefined
        ? new TransportFailure(end)
        : new SessionClosed({ by: "peer", code: end.code, reason: end.reason })
    )
  }

  // What the application does.

  /** Starts an open, or says why it cannot. */
  open(opening: Opening): void {
    if (this.#terminal !== undefined) return opening.settle(Either.left(this.#terminal))
    if (opening.id !== undefined && !this.#reserve(opening.id)) {
      return opening.settle(Either.left(new DuplicateStream({ streamId: opening.id })))
    }
    this.opens.add(opening)
  }

  /** Gives an open up, whatever had become of it: a turn that never came, an unanswered SYN, or a stream. */
  cancelOpen(opening: Opening): void {
    const stream = opening.stream
    if (opening.failed) return
    if (stream === undefined) {
      if (this.opens.remove(opening) && opening.id !== undefined) this.#ids.release(opening.id)
    } else if (this.#openings.delete(stream)) {
      stream.cancel()
    } else {
      stream.leave()
    }
  }

  /** The same, because it took too long. */
  expireOpen(opening: Opening, error: AcceptTimeout): void {
    if (opening.settled) return
    this.cancelOpen(opening)
    opening.settle(Either.left(error))
  }

  /** Takes the next stream of the backlog and accepts it; undefined when there is none. */
  takeAccepted(): StreamState | undefined {
    for (const stream of this.#backlog) {
      this.#backlog.delete(stream)
      this.counters.accepted++
      const ack = Frame.ack(stream.id, stream.window)
      stream.accept()
      this.#answer(ack)
      this.journal.debug("accepted a stream", { streamId: stream.id })
      return stream
    }
    return undefined
  }

  /** Waits for the next stream; `restore` makes the wait interruptible, and only that. */
  awaitAccepted(
    restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  ): Effect.Effect<StreamState, TerminalError> {
    return this.#acceptors.until(() => {
      if (this.#terminal !== undefined) return Effect.fail(this.#terminal)
      const stream = this.takeAccepted()
      return stream && Effect.succeed(stream)
    }, restore)
  }

  /** Ends the session: everything that waits or will be tried hears of it. Only the first call counts. */
  terminate(error: TerminalError): void {
    if (this.#terminal !== undefined) return
    this.#terminal = error
    this.#backlog.clear()
    this.#acceptors.wakeAll()
    this.opens.fail(error)
    for (const opening of this.#openings.values()) opening.settle(Either.left(error))
    this.#openings.clear()
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of streams) stream.fail(error)
    Deferred.unsafeDone(this.terminated, Effect.succeed(error))
  }

  snapshot(): SessionSnapshot {
    return {
      role: this.role,
      closed: this.#terminal !== undefined,
      streams: Array.from(this.#streams.values(), (stream) => stream.snapshot()),
      backlog: this.#backlog.size,
      unacknowledgedOpens: this.opens.unanswered,
      waitingOpens: this.opens.waiting,
      counters: this.counters.snapshot()
    }
  }

  #recvDat(frame: Frame.Dat): void {
    const { counters } = this
    counters.framesIn.dat++
    counters.bytesIn += frame.payload.byteLength
    const stream = this.#streams.get(frame.id)
    // A Go peer never sends a DAT without bytes, and corrupts itself on one; it means nothing.
    if (stream === undefined || frame.payload.byteLength === 0) return this.#ignore("DAT", frame.id)
    const verdict = stream.recvDat(frame.payload)
    if (verdict === "Taken") return
    if (verdict === "Misplaced") return this.#ignore("DAT", frame.id)
    counters.overruns++
    this.journal.warning("the peer overran the window of a stream", { streamId: frame.id })
  }

  #recvAck(frame: Frame.Ack): void {
    this.counters.framesIn.ack++
    const stream = this.#streams.get(frame.id)
    if (stream === undefined) return this.#ignore("ACK", frame.id)
    if (stream.state !== "Opening" && stream.state !== "Cancelled") {
      if (!stream.outgoing.grant(frame.credit)) {
        this.counters.clamped++
        this.journal.warning("the peer granted more credit than can be outstanding", { streamId: frame.id })
      }
      return
    }
    const opening = this.#openings.get(stream)
    this.#openings.delete(stream)
    stream.recvAccept(frame.credit)
    this.counters.opened++
    this.opens.answered()
    opening?.settle(Either.right(stream))
  }

  #recvSyn({ id }: Frame.Syn): void {
    this.counters.framesIn.syn++
    if (this.#ids.isOurs(id)) return this.terminate(new WrongParity({ streamId: id, role: this.role }))
    if (this.#streams.has(id)) {
      this.counters.duplicates++
      return this.journal.warning("the peer opened a stream twice", { streamId: id })
    }
    const { acceptBacklog, initialSendCredit, maxSessionBufferSize, maxStreams } = this.#settings
    const window = this.#windowToGive()
    if (this.#backlog.size >= acceptBacklog) return this.#refuse(id, "the backlog is full")
    if (this.#streams.size >= maxStreams) return this.#refuse(id, "there are too many streams")
    if (this.#given + window > maxSessionBufferSize) return this.#refuse(id, "the session's memory is given away")
    const stream = new StreamState(id, "Pending", window, initialSendCredit ?? window, this.#link)
    this.#streams.set(id, stream)
    this.#given += window
    this.#backlog.add(stream)
    this.#acceptors.wakeOne()
  }

  #recvFin({ id }: Frame.Fin): void {
    this.counters.framesIn.fin++
    const stream = this.#streams.get(id)
    const before = stream?.state
    if (stream === undefined || !stream.recvFin()) return this.#ignore("FIN", id)
    switch (before) {
      case "Pending":
        // The opener gave it up. Our FIN lets it forget the id.
        this.#backlog.delete(stream)
        return this.#answer(Frame.fin(id))
      case "Opening":
      case "Cancelled": {
        const opening = this.#openings.get(stream)
        this.#openings.delete(stream)
        this.opens.answered()
        opening?.settle(Either.left(new StreamRefused({ streamId: id })))
      }
    }
  }

  #sendOpen(opening: Opening): void {
    const id = opening.id ?? this.#ids.take((id) => this.#streams.has(id))
    const stream = new StreamState(id, "Opening", this.#settings.streamBufferSize, 0, this.#link)
    // Registered before its SYN leaves: the answer may come at any time.
    this.#streams.set(id, stream)
    this.#openings.set(stream, opening)
    opening.stream = stream
    this.outbox.sendControl(Frame.syn(id))
    this.journal.debug("opening a stream", { streamId: id })
  }

  #refuse(id: number, reason: string): void {
    this.counters.refused++
    this.journal.warning(`refused a stream: ${reason}`, { streamId: id })
    this.#answer(Frame.fin(id))
  }

  /** Sends what the peer can ask for as often as it likes. */
  #answer(frame: Uint8Array): void {
    this.outbox.sendControl(frame)
    if (this.outbox.waitingControl > maxWaitingControl) {
      this.terminate(new PeerFlood({ detail: `${maxWaitingControl} answers wait to be read` }))
    }
  }

  #reserve(id: number): boolean {
    if (!Number.isInteger(id) || id < 0 || id > Frame.maxUint32 || !this.#ids.isOurs(id)) {
      throw new RangeError(`${id} is not a stream id of the ${this.role} role`)
    }
    return this.#ids.reserve(id, (id) => this.#streams.has(id))
  }

  #ignore(kind: string, id: number): void {
    this.counters.ignored++
    this.journal.debug("ignored a frame that has no place", { kind, streamId: id })
  }

  #forget(stream: StreamState): void {
    if (!this.#streams.delete(stream.id)) return
    const { incoming } = stream
    const takeBack = () => {
      incoming.emptied = undefined
      this.#tuner?.release(incoming.growth)
      if (!this.#ids.isOurs(stream.id)) this.#given -= stream.window
    }
    if (incoming.buffered === 0) takeBack()
    else incoming.emptied = takeBack
  }

  /**
   * The window for one more stream of the peer's: whole ones until half of what the session may hold is given away, then
   * equal shares of the other half. So however many streams there are, their windows are never more than that together.
   */
  #windowToGive(): number {
    const { maxSessionBufferSize, maxStreams, streamBufferSize } = this.#settings
    const half = maxSessionBufferSize / 2
    if (this.#given + streamBufferSize <= half) return streamBufferSize
    return Math.min(streamBufferSize, Math.max(1, Math.floor(half / maxStreams)))
  }
}

/**
 * How many answers may wait for a peer that opens streams and does not read: far beyond what two honest peers owe each
 * other, far below what would hurt.
 */
const maxWaitingControl = 10_000
