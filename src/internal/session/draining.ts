import type { DrainSnapshot } from "../../SessionSnapshot.js"
import { SessionDraining } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"
import { plainText } from "../text/plainText.js"
import { encodeGoAway, Feature, type GoAway } from "../wire/record.js"
import type { Host } from "./host.js"
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
  readonly #now: () => number
  #local: End | undefined
  #peer: End | undefined

  constructor(host: Host, own: OwnStreams, now: () => number) {
    this.#host = host
    this.#own = own
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

  /** When the grace of this end has passed. */
  get until(): number {
    return this.#local?.until ?? Infinity
  }

  /** The grace that this end has left, in milliseconds. */
  get left(): number {
    return this.#left(this.#local)
  }

  /** Whether this end drains, and serves no stream any more. */
  get isOver(): boolean {
    return this.#local !== undefined && (this.#host.streams.size === 0 || this.left === 0)
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
    this.#host.scheduler.sendControl(encodeGoAway({ ...this.#local.error, graceMillis: Math.ceil(this.left) }))
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
