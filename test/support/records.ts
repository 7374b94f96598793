import * as Frame from "../../src/internal/wire/frame.js"
import type { Metadata } from "../../src/internal/wire/metadata.js"
import * as Record from "../../src/internal/wire/record.js"

/** A message of either wire: a frame, a record of the dialect, or a fault. */
export type Message = Frame.Frame | Record.DialectRecord | Frame.Malformed

/** Decodes a message, and a record within a DAT on the reserved id. */
export const decodeMessage = (message: Uint8Array): Message => {
  const frame = Frame.decode(message)
  return frame._tag === "Dat" && frame.id === Record.reservedId ? Record.decodeRecord(frame.payload) : frame
}

/** Whether a message is the HELLO of a session, which a Go peer ignores. */
export const isHello = (message: Uint8Array): boolean => decodeMessage(message)._tag === "Hello"

/** Encodes a frame or a record as a whole message. */
export const encodeMessage = (message: Exclude<Message, Frame.Malformed>): Uint8Array => {
  switch (message._tag) {
    case "Hello":
      return Record.encodeHello(message)
    case "Open":
      return Record.encodeOpen(
        message.id,
        message.window,
        Record.encodeIntroduction(message.label, message.metadata)
      )
    case "Reset":
      return Record.encodeReset(message.id, message.code, message.reason)
    case "Stop":
      return Record.encodeStop(message.id, message.code)
    case "GoAway":
      return Record.encodeGoAway(message)
    case "Ping":
      return Record.encodePing(message.payload)
    case "Pong":
      return Record.encodePong(message.payload)
    case "Unknown":
      return Frame.encode({ _tag: "Dat", id: Record.reservedId, payload: Uint8Array.of(message.kind) })
    default:
      return Frame.encode(message)
  }
}

/** A HELLO with all features of streams. */
export const hello = (more: Partial<Record.Hello> = {}): Record.Hello => ({
  _tag: "Hello",
  features: Record.Feature.open | Record.Feature.reset,
  ...more
})

export const open = (id: number, window = 1024, label = "", metadata: Metadata = {}): Record.Open => ({
  _tag: "Open",
  id,
  window,
  label,
  metadata
})

export const reset = (id: number, code: number, reason = ""): Record.Reset => ({ _tag: "Reset", id, code, reason })

export const goAway = (graceMillis: number, code = 0, reason = ""): Record.GoAway => ({
  _tag: "GoAway",
  code,
  graceMillis,
  redial: true,
  reason
})

export const stop = (id: number, code: number): Record.Stop => ({ _tag: "Stop", id, code })
