import { headerSize } from "../Frame.js"
import type { FrameCounts, SessionCounters } from "../Session.js"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** What a session counts. Plain fields: they are bumped once a frame. */
export class Counters {
  readonly framesIn: Mutable<FrameCounts> = { dat: 0, syn: 0, ack: 0, fin: 0 }
  readonly framesOut: Mutable<FrameCounts> = { dat: 0, syn: 0, ack: 0, fin: 0 }
  bytesIn = 0
  bytesOut = 0
  opened = 0
  accepted = 0
  refused = 0
  duplicates = 0
  ignored = 0
  overruns = 0
  clamped = 0

  sent(frame: Uint8Array): void {
    const kind = kinds[frame[0]!]!
    this.framesOut[kind]++
    if (kind === "dat") this.bytesOut += frame.byteLength - headerSize
  }

  snapshot(): SessionCounters {
    return { ...this, framesIn: { ...this.framesIn }, framesOut: { ...this.framesOut } }
  }
}

/** By the frame's type byte. */
const kinds = ["dat", "syn", "ack", "fin"] as const
