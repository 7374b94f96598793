import { describe, expect, it } from "@effect/vitest"
import { MalformedFrame } from "effect-wsmux/WsmuxError"
import * as FastCheck from "effect/FastCheck"
import * as Frame from "../../../../src/internal/wire/frame.js"
import { concat } from "../../../support/bytes.js"
import { ack, dat, fin, syn } from "../../../support/scriptedPeer.js"

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (pair) => parseInt(pair, 16))

const uint32 = FastCheck.integer({ min: 0, max: Frame.maxUint32 })

const frames: FastCheck.Arbitrary<Frame.Frame> = FastCheck.oneof(
  FastCheck.tuple(uint32, FastCheck.uint8Array({ maxLength: 40 })).map(([id, payload]) => dat(id, payload)),
  uint32.map(syn),
  FastCheck.tuple(uint32, uint32).map(([id, credit]) => ack(id, credit)),
  uint32.map(fin)
)

/** Byte strings, most of them similar to a frame. */
const messages = FastCheck.oneof(
  FastCheck.uint8Array({ maxLength: 24 }),
  FastCheck.tuple(FastCheck.integer({ min: 0, max: 4 }), FastCheck.uint8Array({ maxLength: 10 }))
    .map(([type, rest]) => Uint8Array.of(type, ...rest))
)

/** Returns the kind of a message by the table of the protocol. */
const kindOf = (message: Uint8Array): Frame.Frame["_tag"] | Frame.Malformed["fault"] => {
  if (message.length < 5) return "Truncated"
  if (message[0]! > 3) return "UnknownType"
  if (message[0] === 0) return "Dat"
  if (message[0] === 2) return message.length === 9 ? "Ack" : "InvalidCredit"
  if (message.length > 5) return "UnexpectedPayload"
  return message[0] === 1 ? "Syn" : "Fin"
}

describe("Frame", () => {
  const fixtures: ReadonlyArray<readonly [name: string, frame: Frame.Frame, message: string]> = [
    ["bytes", dat(1, hex("68 69 00 ff")), "00 01000000 68 69 00 ff"],
    ["no bytes", dat(2, hex("")), "00 02000000"],
    ["an open of stream 0", syn(0), "01 00000000"],
    ["an open", syn(0x01020304), "01 04030201"],
    ["credit", ack(0x0a0b0c0d, 1024), "02 0d0c0b0a 00040000"],
    ["no credit", ack(3, 0), "02 03000000 00000000"],
    ["the most credit", ack(5, 0xffff_ffff), "02 05000000 ffffffff"],
    ["an end", fin(256), "03 00010000"],
    ["an end of the last stream", fin(0xffff_ffff), "03 ffffffff"],
    ["an id of which only the sign bit is set", fin(0x8000_0000), "03 00000080"]
  ]
  for (const [name, frame, message] of fixtures) {
    it(`Frame.encode and decode agree on the bytes of: ${name}`, () => {
      expect(Frame.encode(frame)).toEqual(hex(message))
      expect(Frame.decode(hex(message))).toEqual(frame)
    })
  }

  it.prop("Frame.decode returns each frame that was encoded", [frames], ([frame]) => {
    expect(Frame.decode(Frame.encode(frame))).toEqual(frame)
  })

  it("Frame.encode copies the payload", () => {
    const payload = hex("01 02 03")
    const message = Frame.encode(dat(7, payload))
    payload.fill(0)
    expect(message).toEqual(hex("00 07000000 01 02 03"))
  })

  it("Frame.datHeader returns the header of a DAT frame", () => {
    expect(Frame.datHeader(7)).toEqual(hex("00 07000000"))
  })

  it("Frame.syn, ack and fin return the bytes of Frame.encode", () => {
    expect([Frame.syn(7), Frame.ack(7, 9), Frame.fin(7)]).toEqual([syn(7), ack(7, 9), fin(7)].map(Frame.encode))
  })
})

describe("Frame.decode", () => {
  const faults: ReadonlyArray<readonly [message: string, fault: Frame.Malformed["fault"], detail: string]> = [
    ["", "Truncated", "a message of 0 bytes"],
    ["01 000000", "Truncated", "a message of 4 bytes"],
    ["ff", "Truncated", "a message of 1 bytes"],
    ["04 00000000", "UnknownType", "frame type 4"],
    ["ff 00000000 00000000", "UnknownType", "frame type 255"],
    ["01 00000000 00", "UnexpectedPayload", "SYN of 6 bytes"],
    ["03 00000000 00000000", "UnexpectedPayload", "FIN of 9 bytes"],
    ["02 00000000", "InvalidCredit", "ACK of 5 bytes"],
    ["02 00000000 000000", "InvalidCredit", "ACK of 8 bytes"],
    ["02 00000000 0000000000", "InvalidCredit", "ACK of 10 bytes"]
  ]
  for (const [message, fault, detail] of faults) {
    it(`Frame.decode names the fault of <${message}>`, () => {
      expect(Frame.decode(hex(message))).toEqual({ _tag: "Malformed", fault, detail })
    })
  }

  it.prop("Frame.decode returns the frame or the fault of any bytes", [messages], ([message]) => {
    const decoded = Frame.decode(message)
    if (decoded._tag === "Malformed") {
      expect(decoded.fault).toBe(kindOf(message))
      const reason = new MalformedFrame(decoded).message
      expect(reason).toMatch(/^[ -~]{1,123}$/) // the limit of a reason in a close frame
    } else {
      expect(decoded._tag).toBe(kindOf(message))
      expect(Frame.encode(decoded)).toEqual(message)
    }
  }, { fastCheck: { numRuns: 1000 } })

  it.prop(
    "Frame.decode reads a view without the bytes around it",
    [messages, FastCheck.uint8Array({ maxLength: 8 }), FastCheck.uint8Array({ maxLength: 8 })],
    ([message, before, after]) => {
      const view = concat([before, message, after]).subarray(before.length, before.length + message.length)
      expect(Frame.decode(view)).toEqual(Frame.decode(message))
    }
  )

  it("Frame.decode returns a view of the message as the payload", () => {
    const message = concat([hex("ff ff"), hex("00 07000000 01 02 03"), hex("ff")]).subarray(2, 10)
    const decoded = Frame.decode(message) as Frame.Dat
    expect(decoded.payload.buffer).toBe(message.buffer)
    expect([decoded.payload.byteOffset, decoded.payload.byteLength]).toEqual([7, 3])
  })
})
