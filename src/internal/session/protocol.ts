import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import type { Settings } from "../../SessionConfig.js"
import type { SessionSnapshot } from "../../SessionSnapshot.js"
import type { Budgets, Share } from "../../SharedLimits.js"
import type { CloseInfo, Listener, Transport } from "../../Transport.js"
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
} from "../../WsmuxError.js"
import { ReceiveMemory } from "../budget/receiveMemory.js"
import { Counters } from "../observe/counters.js"
import type { SessionLog } from "../observe/sessionLog.js"
import type { WindowTuner } from "../recv/windowTuner.js"
import type { CongestionController } from "../send/congestion.js"
import { SendScheduler } from "../send/sendScheduler.js"
import type { Notify } from "../sync/notify.js"
import * as Frame from "../wire/frame.js"
import { type Role, StreamIds } from "../wire/streamIds.js"
import { Backlog } from "./backlog.js"
import { OpenLimiter, type PendingOpen } from "./openLimiter.js"
import { type StreamContext, StreamProtocol } from "./streamProtocol.js"

/** The parts of a session. */
export interface Parts {
  readonly role: Role
  readonly settings: Settings
  readonly transport: Transport
  readonly log: SessionLog
  readonly limits: Budgets
  readonly tuner: WindowTuner | undefined
  readonly congestion: CongestionController | undefined
  /** The monotonic time in milliseconds. */
  readonly now: () => number
}

/**
 * The protocol of a session: its streams, the frames that come in, and the frames that go out. All of it is synchronous
 * and runs in the transport's callbacks or in a step of the calling fiber. The first terminal error is final once it is
 * set.
 */
export class SessionProtocol implements Listener {
  readonly counters = new Counters()
  readonly scheduler: SendScheduler
  readonly opens: OpenLimiter
  /** Completed with the first terminal error, in the step in which it happens. */
  readonly terminated = Deferred.unsafeMake<TerminalError>(FiberId.none)
  readonly role: Role
  readonly log: SessionLog
  readonly #settings: Settings
  readonly #congestion: CongestionController | undefined
  readonly #ids: StreamIds
  readonly #context: StreamContext
  readonly #streams = new Map<number, StreamProtocol>()
  readonly #backlog: Backlog
  readonly #openings = new Map<StreamProtocol, PendingOpen>()
  /** The session's shares of the limits for all sessions. */
  readonly #shares: { readonly [K in "streams" | "buffers" | "waitingAnswers"]: Share }
  readonly #memory: ReceiveMemory
  /** The peer's streams that are open or have a handler that runs. Each takes one of `maxStreams`. */
  readonly #places = new Set<StreamProtocol>()
  #terminal: TerminalError | undefined

  constructor({ congestion, limits, log, now, role, settings, transport, tuner }: Parts) {
    this.role = role
    this.log = log
    this.#settings = settings
    this.#congestion = congestion
    this.#ids = new StreamIds(role)
    this.#shares = {
      streams: limits.streams.join(),
      buffers: limits.buffers.join(),
      waitingAnswers: limits.waitingAnswers.join()
    }
    this.#memory = new ReceiveMemory(settings, this.#shares.buffers)
    this.#backlog = new Backlog(settings.acceptBacklog, Duration.toMillis(settings.backlogTimeout), {
      now,
      refuse: (stream, reason) => {
        this.#countRefusal(stream.id, reason)
        stream.leave()
      }
    })
    this.scheduler = new SendScheduler(
      transport,
      settings.maxFrameSize,
      this.counters,
      congestion,
      this.#shares.waitingAnswers
    )
    this.opens = new OpenLimiter(settings.maxUnacknowledgedOpens, (opening) => this.#sendOpen(opening))
    this.#context = {
      maxPeerWindow: settings.maxPeerWindow,
      discardLimit: settings.discardLimit,
      scheduler: this.scheduler,
      stalled: () => this.counters.creditStalls++,
      tuner,
      memory: this.#memory,
      over: (stream) => this.#forget(stream)
    }
  }

  get terminal(): TerminalError | undefined {
    return this.#terminal
  }

  /** Those that wait for a stream of the peer, first come first served. */
  get acceptors(): Notify {
    return this.#backlog.acceptors
  }

  // The events of the transport.

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
    this.scheduler.flush()
  }

  onClose(end: CloseInfo): void {
    this.scheduler.clear()
    // 1006 stands for a connection without a close frame: a loss. Go peers end every session that way.
    this.terminate(
      end.code === 1006 || end.cause !== undefined
        ? new TransportFailure(end)
        : new SessionClosed({ by: "peer", code: end.code, reason: end.reason })
    )
  }

  // The operations of the application.

  /** Starts an open. Settles it with an error when the session is over or the id is taken. */
  open(opening: PendingOpen): void {
    if (this.#terminal !== undefined) return opening.settle(Either.left(this.#terminal))
    if (opening.id !== undefined && !this.#reserve(opening.id)) {
      return opening.settle(Either.left(new DuplicateStream({ streamId: opening.id })))
    }
    this.opens.add(opening)
  }

  /** Cancels an open in any state: waiting for its turn, waiting for the peer's answer, or with a stream. */
  cancelOpen(opening: PendingOpen): void {
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

  /** Cancels an open whose time is over, and settles it with the error. */
  expireOpen(opening: PendingOpen, error: AcceptTimeout): void {
    if (opening.settled) return
    this.cancelOpen(opening)
    opening.settle(Either.left(error))
  }

  /** Takes the next stream of the backlog and accepts it. Returns undefined when the backlog is empty. */
  takeAccepted(): StreamProtocol | undefined {
    const stream = this.#backlog.take()
    if (stream === undefined) return undefined
    this.counters.accepted++
    const ack = Frame.ack(stream.id, stream.window)
    stream.accept()
    this.#answer(ack)
    this.log.debug("accepted a stream", { streamId: stream.id })
    return stream
  }

  /** The handler that `run` started for the stream has ended. */
  served(stream: StreamProtocol): void {
    stream.isServed = false
    if (this.#streams.get(stream.id) !== stream) this.#freePlace(stream)
  }

  /** Ends the session: all waiting and later operations fail. Only the first call counts. */
  terminate(error: TerminalError): void {
    if (this.#terminal !== undefined) return
    this.#terminal = error
    this.#backlog.close()
    this.opens.fail(error)
    for (const opening of this.#openings.values()) opening.settle(Either.left(error))
    this.#openings.clear()
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of streams) {
      stream.fail(error)
      this.#freePlace(stream)
    }
    for (const share of Object.values(this.#shares)) share.leave()
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
    // A Go peer never sends a DAT of 0 bytes, which would corrupt its own receiver.
    if (stream === undefined || frame.payload.byteLength === 0) return this.#ignore("DAT", frame.id)
    const verdict = stream.recvDat(frame.payload)
    if (verdict === "Taken") return
    if (verdict === "Misplaced") return this.#ignore("DAT", frame.id)
    counters.windowOverruns++
    this.log.fault("Warning", "cannot keep bytes: the peer overran the window of a stream", { streamId: frame.id })
  }

  #recvAck(frame: Frame.Ack): void {
    this.counters.framesIn.ack++
    const stream = this.#streams.get(frame.id)
    if (stream === undefined) return this.#ignore("ACK", frame.id)
    this.#congestion?.onCredit()
    if (stream.state !== "Opening" && stream.state !== "Cancelling") {
      if (!stream.sendHalf.grant(frame.credit)) {
        this.counters.creditOverflows++
        this.log.fault("Warning", "cannot take credit: the peer granted more than can be outstanding", {
          streamId: frame.id
        })
      }
      return
    }
    const opening = this.#openings.get(stream)
    this.#openings.delete(stream)
    const beyond = stream.recvAccept(frame.credit)
    if (beyond > 0) this.#warnOfWindow({ peerWindow: frame.credit, window: frame.credit - beyond, streamId: stream.id })
    this.counters.opened++
    this.opens.answered()
    opening?.settle(Either.right(stream))
  }

  #recvSyn({ id }: Frame.Syn): void {
    this.counters.framesIn.syn++
    if (this.#ids.isOurs(id)) return this.terminate(new WrongParity({ streamId: id, role: this.role }))
    if (this.#streams.has(id)) {
      this.counters.duplicateSyns++
      return this.log.fault("Warning", "ignored a frame: the peer opened a stream twice", { streamId: id })
    }
    if (!this.#backlog.makeRoom()) return this.#refuse(id, "the backlog is full (acceptBacklog)")
    if (this.#places.size >= this.#settings.maxStreams) return this.#refuse(id, "the session has maxStreams streams")
    if (!this.#shares.streams.take(1)) return this.#refuse(id, "all sessions together have too many (SharedLimits)")
    const window = this.#memory.bookWindow()
    if (window === undefined) {
      this.#shares.streams.giveBack(1)
      return this.#refuse(id, "the memory for windows is given away (maxSessionBufferSize)")
    }
    const stream = new StreamProtocol(
      id,
      "AwaitingAccept",
      window,
      this.#settings.initialSendCredit ?? window,
      this.#context
    )
    this.#streams.set(id, stream)
    this.#places.add(stream)
    this.#backlog.add(stream)
  }

  #recvFin({ id }: Frame.Fin): void {
    this.counters.framesIn.fin++
    const stream = this.#streams.get(id)
    const before = stream?.state
    if (stream === undefined || !stream.recvFin()) return this.#ignore("FIN", id)
    switch (before) {
      case "AwaitingAccept":
        // The opener cancelled the stream, and forgets its id at our FIN. A refused stream has been sent one already.
        return this.#backlog.remove(stream) ? this.#answer(Frame.fin(id)) : undefined
      case "Opening":
      case "Cancelling": {
        const opening = this.#openings.get(stream)
        this.#openings.delete(stream)
        this.opens.answered()
        opening?.settle(Either.left(new StreamRefused({ streamId: id })))
      }
    }
  }

  #sendOpen(opening: PendingOpen): void {
    const id = opening.id ?? this.#ids.take((id) => this.#streams.has(id))
    const window = this.#settings.streamBufferSize
    this.#memory.bookOwn(window)
    const stream = new StreamProtocol(id, "Opening", window, 0, this.#context)
    // The stream is registered before its SYN is sent, because the answer may come at any time.
    this.#streams.set(id, stream)
    this.#openings.set(stream, opening)
    opening.stream = stream
    this.scheduler.sendControl(Frame.syn(id))
    this.log.debug("opening a stream", { streamId: id })
  }

  #refuse(id: number, reason: string): void {
    this.#countRefusal(id, reason)
    this.#answer(Frame.fin(id))
  }

  #countRefusal(streamId: number, reason: string): void {
    this.counters.refused++
    this.log.fault("Warning", `refused a stream: ${reason}`, { streamId })
  }

  /** Sends a reply to a frame of the peer. Ends the session when the peer causes replies and does not read them. */
  #answer(frame: Uint8Array): void {
    if (this.scheduler.sendAnswer(frame)) return
    this.terminate(new PeerFlood({ detail: `${this.scheduler.waitingControl} answers wait to be read` }))
  }

  #warnOfWindow(annotations: object): void {
    this.log.fault(
      "Warning",
      "the peer believes in a larger window than this end stores: a slow reader will fail with NoCapacity; " +
        "give both ends the same streamBufferSize, or raise maxPeerWindow",
      annotations
    )
  }

  #reserve(id: number): boolean {
    if (!Number.isInteger(id) || id < 0 || id > Frame.maxUint32 || !this.#ids.isOurs(id)) {
      throw new RangeError(`cannot open stream ${id}: it is not an id of the ${this.role} role`)
    }
    return this.#ids.reserve(id, (id) => this.#streams.has(id))
  }

  #ignore(kind: string, id: number): void {
    this.counters.ignoredFrames++
    this.log.fault("Debug", "ignored a frame: it is invalid in this state", { kind, streamId: id })
  }

  #forget(stream: StreamProtocol): void {
    if (this.#streams.get(stream.id) !== stream) return // the id may be another stream's by now
    this.#streams.delete(stream.id)
    this.scheduler.forgetCredit(stream.id)
    this.#freePlace(stream)
  }

  /** Frees the place of a stream once. A stream with a handler keeps its place until `served`. */
  #freePlace(stream: StreamProtocol): void {
    if (!stream.isServed && this.#places.delete(stream)) this.#shares.streams.giveBack(1)
  }
}
