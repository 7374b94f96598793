import * as Duration from "effect/Duration"
import type { Budgets, Share } from "../../SharedLimits.js"
import { PeerFlood } from "../../WsmuxError.js"
import { TokenBucket } from "../budget/tokenBucket.js"
import type { Notify } from "../sync/notify.js"
import * as Frame from "../wire/frame.js"
import { emptyMetadata, type Metadata } from "../wire/metadata.js"
import * as Record from "../wire/record.js"
import { ResetCode } from "../wire/resetCode.js"
import { Backlog } from "./backlog.js"
import type { Host } from "./host.js"
import { type Cause, StreamProtocol } from "./streamProtocol.js"

/** What the peer tells about a stream when it opens the stream by a record. */
export interface Introduction {
  readonly window: number
  readonly label: string
  readonly metadata: Metadata
}

/** The streams that the peer opens: which are admitted, which wait to be accepted, and how many there are. */
export class PeerStreams {
  readonly #host: Host
  readonly #backlog: Backlog
  readonly #share: Share
  /** How many streams of the peer are open or have a handler that runs. Each takes one of `maxStreams`. */
  #places = 0
  readonly #resets: TokenBucket

  constructor(host: Host, limits: Budgets, now: () => number) {
    this.#host = host
    this.#backlog = new Backlog(host.settings.acceptBacklog, Duration.toMillis(host.settings.backlogTimeout), {
      now,
      refuse: (stream, cause) => {
        this.#countRefusal(stream.id, cause)
        stream.refuse(cause)
      }
    })
    this.#share = limits.streams.join()
    this.#resets = new TokenBucket(resetBurst, resetsPerSecond, now)
  }

  /** Those that wait for a stream of the peer, first come first served. */
  get acceptors(): Notify {
    return this.#backlog.acceptors
  }

  /** How many streams wait to be accepted. */
  get waiting(): number {
    return this.#backlog.size
  }

  /** The peer opens a stream: by a SYN, or by a record that introduces the stream. */
  recvOpen(id: number, introduction?: Introduction): void {
    const { counters, dialect, log, settings, streamContext, streams } = this.#host
    if (streams.has(id)) {
      counters.duplicateSyns++
      return log.fault("Warning", "ignored a frame: the peer opened a stream twice", { streamId: id })
    }
    if (this.#host.isDraining) return this.#refuse(id, draining)
    const window = this.#admit()
    if (typeof window === "string") return this.#refuse(id, { code: ResetCode.Refused, reason: window })
    const stream = new StreamProtocol({
      id,
      state: "AwaitingAccept",
      window,
      // A Go peer assumes that its opener has the acceptor's window. Other peers tell their windows.
      credit: introduction?.window ?? dialect.peer?.window ?? settings.initialSendCredit ?? window,
      earlyWindow: introduction && dialect.earlyWindow,
      label: introduction?.label ?? "",
      metadata: introduction?.metadata ?? emptyMetadata
    }, streamContext)
    streams.add(id, stream)
    stream.hasPlace = true
    this.#places++
    this.#backlog.add(stream)
  }

  /** The peer no longer wants a stream that waits to be accepted. Returns false when the stream does not wait. */
  cancelled(stream: StreamProtocol): boolean {
    return this.#backlog.remove(stream)
  }

  /** The peer has reset a stream of its own. Ends the session of a peer that only opens and resets. */
  countReset(): void {
    if (this.#resets.take()) return
    this.#host.terminate(
      new PeerFlood({ detail: `more than ${resetsPerSecond} streams a second were opened and reset` })
    )
  }

  /** Takes the next stream of the backlog and accepts it. Returns undefined when the backlog is empty. */
  takeAccepted(): StreamProtocol | undefined {
    const stream = this.#backlog.take()
    if (stream === undefined) return undefined
    const { counters, log } = this.#host
    counters.accepted++
    stream.accept((credit) => this.#host.answer(Frame.ack(stream.id, credit)))
    log.debug("accepted a stream", { streamId: stream.id, ...(stream.label === "" ? {} : { label: stream.label }) })
    return stream
  }

  /** The handler that `run` started for the stream has ended. */
  served(stream: StreamProtocol): void {
    stream.isServed = false
    if (this.#host.streams.get(stream.id) !== stream) this.freePlace(stream)
  }

  /** Frees the place of a stream once. A stream with a handler keeps its place until `served`. */
  freePlace(stream: StreamProtocol): void {
    if (stream.isServed || !stream.hasPlace) return
    stream.hasPlace = false
    this.#places--
    this.#share.giveBack(1)
  }

  /** Refuses the streams that wait to be accepted, because the grace of a session that drains has passed. */
  refuseWaiting(): void {
    this.#backlog.refuseAll(draining)
  }

  /** The session has ended: no stream is accepted any more. */
  end(): void {
    this.#backlog.close()
  }

  /** Leaves the limit for all sessions. */
  leave(): void {
    this.#share.leave()
  }

  /** Books what a further stream needs. Returns its window in bytes, or why the session refuses it. */
  #admit(): number | string {
    if (!this.#backlog.makeRoom()) return "the backlog is full (acceptBacklog)"
    if (this.#places >= this.#host.settings.maxStreams) return "the session has maxStreams streams"
    if (!this.#share.take(1)) return "all sessions together have too many (SharedLimits)"
    const window = this.#host.memory.bookWindow()
    if (window !== undefined) return window
    this.#share.giveBack(1)
    return "the memory for windows is given away (maxSessionBufferSize)"
  }

  #refuse(id: number, cause: Cause): void {
    this.#countRefusal(id, cause)
    const { code, reason } = cause
    this.#host.answer(
      this.#host.dialect.has(Record.Feature.reset) ? Record.encodeReset(id, code, reason) : Frame.fin(id)
    )
  }

  #countRefusal(streamId: number, { code, reason }: Cause): void {
    this.#host.counters.refused++
    const level = code === ResetCode.Draining ? "Debug" : "Warning"
    this.#host.log.fault(level, `refused a stream: ${reason}`, { streamId })
  }
}

const draining: Cause = {
  code: ResetCode.Draining,
  reason: "the session drains; the stream was not served, and another session may serve it"
}

/** How many streams a peer may open and reset at once, and per second. A page that is left cancels some hundred. */
const resetBurst = 10_000
const resetsPerSecond = 1000
