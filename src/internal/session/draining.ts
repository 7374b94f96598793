import type { DrainSnapshot } from "../../SessionSnapshot.js"
import { SessionDraining } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"
import { plainText } from "../text/plainText.js"
import { encodeGoAway, Feature, type GoAway } from "../wire/record.js"
import type { Host } from "./host.js"
import type { InBandPings } from "./inBandPings.js"
import type { OwnStreams } from "./ownStreams.js"

/** An announcement, of this end or the peer. */
export type Announcement = Omit<GoAway, "_tag">

/** An end that drains. `until` is the monotonic time in milliseconds when its grace has passed. */
interface End {
  readonly error: SessionDraining
  until: number
}

/**
 * Which ends drain the session, and until when. The first announcement of an end counts, and later ones can only
 * shorten the grace. So a peer that repeats its announcement gains nothing.
 */
export class Draining {
  /** Notified when an end begins to drain, at the end of the session, and by all that may end the wait of this end. */
  readonly changes = new Notify()
  readonly #host: Host
  readonly #own: OwnStreams
  readonly #pings: InBandPings
  readonly #now: () => number
  #local: End | undefined
  #peer: End | undefined
  /** Until when this end waits for opens that crossed its announcement. Undefined until it has announced. */
  #crossedBy: number | undefined

  constructor(host: Host, own: OwnStreams, pings: InBandPings, now: () => number) {
    this.#host = host
    this.#own = own
    this.#pings = pings
    this.#now = now
  }

  /** Why this end opens no streams. */
  get error(): SessionDraining | undefined {
    return (this.#local ?? this.#peer)?.error
  }

  /** Why the peer takes no streams of this end. */
  get peerError(): SessionDraining | undefined {
    return this.#peer?.error
  }

  /** Whether this end takes no new streams of the peer. */
  get isLocal(): boolean {
    return this.#local !== undefined
  }

  /** When this end closes the session, unless a stream or a message changes that. */
  get until(): number {
    const crossing = this.#host.streams.size === 0 ? this.#crossedBy ?? 0 : Infinity
    return Math.min(this.#local?.until ?? Infinity, crossing)
  }

  /** The time until then, in milliseconds. */
  get left(): number {
    return Math.max(0, this.until - this.#now())
  }

  /** Whether this end drains, serves no stream any more, and has refused the opens that crossed its announcement. */
  get isOver(): boolean {
    return this.#local !== undefined && this.left === 0
  }

  /** This end takes no new streams. Returns whether the call was the first. */
  begin(announcement: Announcement): boolean {
    if (this.#host.terminal !== undefined) return false
    const before = this.#local
    const end = this.#merge(before, "local", announcement)
    if (end === undefined) return false
    this.#local = end
    this.announce()
    this.changes.notifyAll()
    return before === undefined
  }

  /** Tells the peer that this end drains, where the peer understands that. */
  announce(): void {
    if (this.#local === undefined || !this.#host.dialect.has(Feature.goAway)) return
    const graceMillis = Math.ceil(this.#left(this.#local))
    this.#host.scheduler.sendControl(encodeGoAway({ ...this.#local.error, graceMillis }))
    if (this.#crossedBy !== undefined || !this.#host.dialect.has(Feature.ping)) return
    this.#crossedBy = this.#now() + maxCrossing
    this.#awaitCrossing()
  }

  /** The transport has another WebSocket, and the pings of the former one are lost. */
  onRenewed(): void {
    if (this.#now() < (this.#crossedBy ?? 0)) this.#awaitCrossing()
  }

  /** The peer takes no new streams. Returns false when that tells nothing new. */
  recv(announcement: Announcement): boolean {
    const end = this.#merge(this.#peer, "peer", announcement)
    if (end === undefined) return false
    this.#peer = end
    this.changes.notifyAll()
    return true
  }

  /** A stream of the session is over. */
  streamOver(): void {
    if (this.#local !== undefined && this.#host.streams.size === 0) this.changes.notifyAll()
  }

  snapshot(): { readonly [K in "localDrain" | "peerDrain"]: DrainSnapshot | undefined } {
    return { localDrain: this.#snapshotOf(this.#local), peerDrain: this.#snapshotOf(this.#peer) }
  }

  /** The peer answers a ping behind all opens that it sent before it read the announcement. */
  #awaitCrossing(): void {
    this.#pings.ping(() => {
      this.#crossedBy = 0
      this.changes.notifyAll()
    })
  }

  /** Returns undefined when the announcement does not shorten the grace. */
  #merge(end: End | undefined, by: "local" | "peer", announcement: Announcement): End | undefined {
    const { code, graceMillis, reason, redial } = announcement
    const until = this.#now() + graceMillis
    if (end !== undefined) return until < end.until ? { error: end.error, until } : undefined
    const error = new SessionDraining({ by, code, graceMillis, redial, reason })
    this.#host.log.debug("the session drains", { by, code, graceMillis, redial, reason: plainText(reason) })
    this.#own.failWaiting(error)
    return { error, until }
  }

  #left(end: End | undefined): number {
    return end === undefined ? Infinity : Math.max(0, end.until - this.#now())
  }

  #snapshotOf(end: End | undefined): DrainSnapshot | undefined {
    if (end === undefined) return undefined
    const { code, reason, redial } = end.error
    return { remainingMillis: this.#left(end), redial, code, reason }
  }
}

/** An open that crosses an announcement comes within a round trip. A silent peer holds a drain for so long. */
const maxCrossing = 2000
