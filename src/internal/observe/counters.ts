import type { FrameCounts, SessionCounters } from "../../SessionSnapshot.js"
import type { FrameParts } from "../wire/frameParts.js"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The counters of a session. The session updates these plain fields once per frame. */
export class Counters {
  readonly framesIn: Mutable<FrameCounts> = { dat: 0, syn: 0, ack: 0, fin: 0, record: 0 }
  readonly framesOut: Mutable<FrameCounts> = { dat: 0, syn: 0, ack: 0, fin: 0, record: 0 }
  bytesIn = 0
  bytesOut = 0
  opened = 0
  accepted = 0
  refused = 0
  duplicateSyns = 0
  ignoredFrames = 0
  windowOverruns = 0
  creditOverflows = 0
  creditStalls = 0

  /** Counts a frame with `size` bytes of a stream. */
  sent(frame: FrameParts, size: number): void {
    const type = frame[0][0]!
    if (type === 0 && size === 0) this.framesOut.record++
    else this.framesOut[kinds[type]!]++
    this.bytesOut += size
  }

  snapshot(): SessionCounters {
    return { ...this, framesIn: { ...this.framesIn }, framesOut: { ...this.framesOut } }
  }
}

/** The counters' keys, indexed by a frame's type byte. */
const kinds = ["dat", "syn", "ack", "fin"] as const
