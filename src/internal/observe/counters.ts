import type { FrameCounts, SessionCounters } from "../../SessionSnapshot.js"
import type { FrameParts } from "../wire/frameParts.js"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The counters of a session. The session updates these plain fields once per frame. */
export class Counters {
  readonly framesIn: Mutable<FrameCounts> = { dat: 0, syn: 0, ack: 0, fin: 0 }
  readonly framesOut: Mutable<FrameCounts> = { dat: 0, syn: 0, ack: 0, fin: 0 }
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

  /** Counts a frame with `size` bytes of payload. */
  sent(frame: FrameParts, size: number): void {
    this.framesOut[kinds[frame[0][0]!]!]++
    this.bytesOut += size
  }

  snapshot(): SessionCounters {
    return { ...this, framesIn: { ...this.framesIn }, framesOut: { ...this.framesOut } }
  }
}

/** The counters' keys, indexed by a frame's type byte. */
const kinds = ["dat", "syn", "ack", "fin"] as const
