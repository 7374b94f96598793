import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Settings } from "../../SessionConfig.js"
import type { SessionSnapshot } from "../../SessionSnapshot.js"
import type { Budgets, Share } from "../../SharedLimits.js"
import type { CloseInfo, Listener, Transport } from "../../Transport.js"
import {
  DialectMissing,
  MalformedFrame,
  PeerFlood,
  SessionClosed,
  type SessionDraining,
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
import { CellMap } from "../sync/cellMap.js"
import { makeDeferred } from "../sync/unowned.js"
import * as Frame from "../wire/frame.js"
import * as Record from "../wire/record.js"
import type { Role } from "../wire/streamIds.js"
import * as StreamState from "../wire/streamState.js"
import { Dialect } from "./dialect.js"
import { Draining } from "./draining.js"
import type { Host } from "./host.js"
import { InBandPings } from "./inBandPings.js"
import { OwnStreams } from "./ownStreams.js"
import { PeerStreams } from "./peerStreams.js"
import { Records } from "./records.js"
import type { StreamContext, StreamProtocol } from "./streamProtocol.js"

/** The parts of a session. */
export interface Parts {
  readonly role: Role
  readonly settings: Settings
  readonly transport: Transport
  readonly log: SessionLog
  readonly limits: Budgets
  /** The monotonic time in milliseconds. */
  readonly now: () => number
}

/**
 * The protocol of a session: its streams, the frames that come in, and the frames that go out. All of it is synchronous
 * and runs in the transport's callbacks or in a step of the calling fiber. The first terminal error is final once it is
 * set.
 */
export class SessionProtocol implements Listener, Host {
  readonly counters = new Counters()
  readonly scheduler: SendScheduler
  readonly dialect: Dialect
  readonly memory: ReceiveMemory
  readonly streams = new CellMap<number, StreamProtocol>()
  readonly streamContext: StreamContext & { tuner: WindowTuner | undefined }
  /** The streams that this end opens. */
  readonly own: OwnStreams
  /** The streams that the peer opens. */
  readonly peers: PeerStreams
  /** Which ends take no new streams. */
  readonly draining: Draining
  /** Completed with the first terminal error, in the step in which it happens. */
  readonly terminated = makeDeferred<TerminalError>()
  readonly role: Role
  readonly settings: Settings
  readonly log: SessionLog
  /** Pings for a transport that has none. */
  readonly pings: InBandPings
  #congestion: CongestionController | undefined
  readonly #records: Records
  /** The session's shares of the limits for all sessions. */
  readonly #shares: { readonly [K in "buffers" | "waitingAnswers"]: Share }
  readonly #transport: Transport
  #terminal: TerminalError | undefined

  constructor({ limits, log, now, role, settings, transport }: Parts) {
    this.role = role
    this.log = log
    this.settings = settings
    this.#transport = transport
    this.#shares = { buffers: limits.buffers.join(), waitingAnswers: limits.waitingAnswers.join() }
    this.memory = new ReceiveMemory(settings, this.#shares.buffers)
    this.dialect = new Dialect(settings)
    this.scheduler = new SendScheduler(
      transport,
      settings.maxFrameSize,
      this.counters,
      this.#shares.waitingAnswers,
      this.dialect.hello
    )
    this.pings = new InBandPings((message) => this.scheduler.sendControl(message))
    this.streamContext = {
      maxPeerWindow: settings.maxPeerWindow,
      discardLimit: settings.discardLimit,
      scheduler: this.scheduler,
      dialect: this.dialect,
      stalled: () => this.counters.creditStalls++,
      tuner: undefined,
      memory: this.memory,
      over: (stream) => this.#forget(stream)
    }
    this.own = new OwnStreams(this)
    this.peers = new PeerStreams(this, limits, now)
    this.draining = new Draining(this, this.own, this.pings, now)
    this.#records = new Records(this, this.own, this.peers, this.pings, this.draining)
  }

  get terminal(): TerminalError | undefined {
    return this.#terminal
  }

  get noOpens(): SessionDraining | undefined {
    return this.draining.error
  }

  get peerDraining(): SessionDraining | undefined {
    return this.draining.peerError
  }

  get isDraining(): boolean {
    return this.draining.isLocal
  }

  /** Limits the bytes in flight, and lets windows grow, by measured round trips from now on. */
  measureBy(congestion: CongestionController, tuner: WindowTuner | undefined): void {
    this.#congestion = congestion
    this.streamContext.tuner = tuner
    this.scheduler.limitBy(congestion)
  }

  // The events of the transport.

  /**
   * A defect ends the session before the runtime hears of it. Browsers and Workers go on after an uncaught exception,
   * and the peer would wait at a session that answers nothing.
   */
  onMessage(message: Uint8Array): void {
    try {
      this.#recv(message)
    } catch (defect) {
      this.terminate(new TransportFailure({ code: 1006, reason: "", cause: defect }))
      throw defect
    }
  }

  #recv(message: Uint8Array): void {
    if (this.#terminal !== undefined) return
    const frame = Frame.decode(message)
    if (this.dialect.isUndecided && this.#decide(frame)) return
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

  onRenewed(): void {
    this.pings.reset()
    this.draining.onRenewed()
    this.#congestion?.onRenewed()
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

  // The operations of the session's parts.

  answer(frame: Uint8Array): void {
    if (this.scheduler.sendAnswer(frame)) return
    this.terminate(new PeerFlood({ detail: `${this.scheduler.waitingControl} answers wait to be read` }))
  }

  terminate(error: TerminalError): void {
    if (this.#terminal !== undefined) return
    this.#terminal = error
    this.peers.end()
    this.own.fail(error._tag === "SessionClosed" && error.by === "peer" ? this.peerDraining ?? error : error)
    for (const stream of this.streams.clear()) {
      stream.fail(error)
      this.peers.freePlace(stream)
    }
    this.peers.leave()
    this.draining.changes.notifyAll()
    for (const share of Object.values(this.#shares)) share.leave()
    Deferred.unsafeDone(this.terminated, Effect.succeed(error))
  }

  /** Ends the session unless the peer has announced that it speaks the dialect. */
  requireDialect(): void {
    if (this.dialect.peer === undefined) this.terminate(new DialectMissing())
  }

  /** Everything but the round trip, which the pings of the session measure. */
  snapshot(): Omit<SessionSnapshot, "roundTripMillis"> {
    return {
      role: this.role,
      closed: this.#terminal !== undefined,
      dialect: this.dialect.snapshot(),
      resumption: this.#transport.resumption?.(),
      ...this.draining.snapshot(),
      streams: this.streams.values().map((stream) => stream.snapshot()),
      backlog: this.peers.waiting,
      unacknowledgedOpens: this.own.unanswered,
      waitingOpens: this.own.waiting,
      counters: this.counters.snapshot()
    }
  }

  /** Decides by the peer's first message whether it speaks the dialect. Returns whether the message is done with. */
  #decide(frame: Frame.Frame | Frame.Malformed): boolean {
    const record = frame._tag === "Dat" && frame.id === Record.reservedId
      ? Record.decodeRecord(frame.payload)
      : undefined
    if (record?._tag === "Malformed") {
      this.terminate(new MalformedFrame({ fault: record.fault, detail: record.detail }))
      return true
    }
    this.dialect.decide(record?._tag === "Hello" ? record : undefined)
    this.log.debug("negotiated the dialect", this.dialect.snapshot())
    if (this.settings.dialect === "required") this.requireDialect()
    this.own.decided()
    this.draining.announce()
    if (record?._tag !== "Hello") return this.#terminal !== undefined
    this.counters.framesIn.record++
    return true
  }

  #recvDat(frame: Frame.Dat): void {
    const { counters } = this
    const stream = this.streams.get(frame.id)
    if (stream === undefined && frame.id === Record.reservedId) {
      counters.framesIn.record++
      return this.dialect.peer === undefined ? this.#ignore("record", frame.id) : this.#records.recv(frame.payload)
    }
    counters.framesIn.dat++
    counters.bytesIn += frame.payload.byteLength
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
    const stream = this.streams.get(frame.id)
    if (stream === undefined) return this.#ignore("ACK", frame.id)
    this.#congestion?.onCredit()
    if (StreamState.isOpening(stream.state)) return this.own.recvAccept(stream, frame.credit)
    if (stream.sendHalf.grant(frame.credit)) return
    this.counters.creditOverflows++
    this.log.fault("Warning", "cannot take credit: the peer granted more than can be outstanding", {
      streamId: frame.id
    })
  }

  #recvSyn({ id }: Frame.Syn): void {
    this.counters.framesIn.syn++
    if (this.own.isOurs(id)) return this.terminate(new WrongParity({ streamId: id, role: this.role }))
    this.peers.recvOpen(id)
  }

  #recvFin({ id }: Frame.Fin): void {
    this.counters.framesIn.fin++
    const stream = this.streams.get(id)
    const before = stream?.state
    if (stream === undefined || before === undefined || !stream.recvFin()) return this.#ignore("FIN", id)
    if (StreamState.isOpening(before)) return this.own.refused(stream, undefined)
    // The opener cancelled the stream, and forgets its id at our FIN. A refused stream has been sent one already.
    if (before === "AwaitingAccept" && stream.state === "Closed" && this.peers.cancelled(stream)) {
      this.answer(Frame.fin(id))
    }
  }

  #ignore(kind: string, id: number): void {
    this.counters.ignoredFrames++
    this.log.fault("Debug", "ignored a frame: it is invalid in this state", { kind, streamId: id })
  }

  #forget(stream: StreamProtocol): void {
    if (this.streams.get(stream.id) !== stream) return // the id may be another stream's by now
    this.streams.take(stream.id)
    this.scheduler.forgetCredit(stream.id)
    this.peers.freePlace(stream)
    this.draining.streamOver()
  }
}
