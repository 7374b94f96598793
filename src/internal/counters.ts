import type { FrameCounts, SessionCounters } from "../Session.js"
import type { FrameParts } from "./outbox.js"

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
  stalls = 0

  sent([header, ...payload]: FrameParts): void {
    const kind = kinds[header[0]!]!
    this.framesOut[kind]++
    for (const chunk of payload) this.bytesOut += chunk.byteLength
  }

  snapshot(): SessionCounters {
    return { ...this, framesIn: { ...this.framesIn }, framesOut: { ...this.framesOut } }
  }
}

/** By the frame's type byte. */
const kinds = ["dat", "syn", "ack", "fin"] as const
