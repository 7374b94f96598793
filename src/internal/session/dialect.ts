import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Settings } from "../../SessionConfig.js"
import type { DialectSnapshot } from "../../SessionSnapshot.js"
import { smallWindow } from "../../SharedLimits.js"
import { makeDeferred } from "../sync/unowned.js"
import { encodeHello, Feature, type Hello, maxLabel, maxMetadata } from "../wire/record.js"

/**
 * Whether the two peers speak the dialect, and what each has announced.
 *
 * Each end sends a HELLO as its first message, and speaks Go's wire until the first message of the peer has arrived. If
 * that message is a HELLO, both speak the dialect from then on. A Go peer ignores the HELLO and sends none.
 */
export class Dialect {
  /** The bytes that an opener may send on a stream before this end accepts the stream. */
  readonly earlyWindow: number
  /** This end's HELLO. Undefined where the dialect is off. */
  readonly hello: Uint8Array | undefined
  readonly #features: number = Feature.open | Feature.reset | Feature.goAway | Feature.ping
  #isUndecided: boolean
  #peer: Hello | undefined
  #common = 0
  readonly #decided = makeDeferred<void>()

  constructor(settings: Settings) {
    const { acceptBacklog: backlog, maxSessionBufferSize, maxStreams, streamBufferSize: window } = settings
    // Each stream has a window of at least this size, even where memory is short. So the limits cover all early bytes,
    // and a stream that a plain peer could open is never refused to a native one.
    this.earlyWindow = Math.min(window, smallWindow, Math.floor(maxSessionBufferSize / 2 / Math.max(maxStreams, 1)))
    this.#isUndecided = settings.dialect !== "off"
    this.hello = this.#isUndecided
      ? encodeHello({
        features: this.#features,
        software: "effect-wsmux",
        window,
        earlyCredit: { perStream: this.earlyWindow, inAll: Math.min(maxSessionBufferSize, 0xffff_ffff) },
        longest: { label: maxLabel, metadata: maxMetadata },
        backlog
      })
      : undefined
  }

  /** Whether the peer's first message is still to come. */
  get isUndecided(): boolean {
    return this.#isUndecided
  }

  /** What the peer announced. Undefined for a peer that speaks Go's wire only, and before its first message. */
  get peer(): Hello | undefined {
    return this.#peer
  }

  /** Whether both ends understand the feature. */
  has(feature: number): boolean {
    return (this.#common & feature) !== 0
  }

  /** Takes the peer's first message: a HELLO or undefined. */
  decide(hello: Hello | undefined): void {
    this.#isUndecided = false
    this.#peer = hello && { ...hello, resume: undefined } // the token of an offer is the transport's
    this.#common = (hello?.features ?? 0) & this.#features
    Deferred.unsafeDone(this.#decided, Effect.void)
  }

  /** Completes when the peer's first message has arrived. Never completes where the dialect is off. */
  get awaitDecided(): Effect.Effect<void> {
    return Deferred.await(this.#decided)
  }

  snapshot(): DialectSnapshot {
    if (this.#isUndecided) return { state: "negotiating" }
    if (this.#peer === undefined) return { state: "plain" }
    const { backlog, earlyCredit, longest, software, window } = this.#peer
    const names = ["open", "reset", "goAway", "ping"] as const
    return {
      state: "native",
      software,
      features: names.filter((name) => this.has(Feature[name])),
      window,
      earlyCredit: earlyCredit?.perStream ?? 0,
      earlyCreditInAll: earlyCredit?.inAll ?? 0,
      longestLabel: longest?.label,
      longestMetadata: longest?.metadata,
      backlog
    }
  }
}
