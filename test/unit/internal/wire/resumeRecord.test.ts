import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Frame from "../../../../src/internal/wire/frame.js"
import * as Record from "../../../../src/internal/wire/resumeRecord.js"

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (pair) => parseInt(pair, 16))

const filled = (size: number, byte: number) => new Uint8Array(size).fill(byte)

const counts = FastCheck.oneof(
  FastCheck.integer({ min: 0, max: 1000 }),
  FastCheck.integer({ min: Frame.maxUint32 - 3, max: Frame.maxUint32 + 3 }),
  FastCheck.integer({ min: Number.MAX_SAFE_INTEGER - 3, max: Number.MAX_SAFE_INTEGER }),
  FastCheck.maxSafeNat()
)
const bytesOf = (size: number) => FastCheck.uint8Array({ minLength: size, maxLength: size })
const uint32 = FastCheck.integer({ min: 0, max: Frame.maxUint32 })

const resumes = FastCheck.record({
  sessionId: bytesOf(Record.sessionIdSize),
  token: bytesOf(Record.tokenSize),
  attempt: uint32,
  received: counts,
  firstKept: counts
})

/** One valid message of each kind. */
const valid = {
  Received: Record.encodeReceived(7),
  Resume: Record.encodeResume({
    sessionId: filled(16, 1),
    token: filled(32, 2),
    attempt: 3,
    received: 4,
    firstKept: 5
  }),
  Resumed: Record.encodeResumed({ received: 4, firstKept: 5, token: filled(32, 2) }),
  Rejected: Record.encodeRejected(1, "no")
}

describe("resumeRecord", () => {
  const fixtures: ReadonlyArray<readonly [message: Uint8Array, hex: string]> = [
    [valid.Received, "00 ffffffff 08 0700000000000000"],
    [
      valid.Resume,
      `00 ffffffff 09 ${"01".repeat(16)} ${"02".repeat(32)} 03000000 0400000000000000 0500000000000000`
    ],
    [valid.Resumed, `00 ffffffff 0a 0400000000000000 0500000000000000 ${"02".repeat(32)}`],
    [valid.Rejected, "00 ffffffff 0b 01000000 6e6f"]
  ]
  for (const [message, expected] of fixtures) {
    it(`resumeRecord encodes the bytes of: ${expected.slice(0, 14)}`, () => {
      expect(message).toEqual(hex(expected))
    })
  }

  it.prop("resumeRecord.decode returns each RECEIVED, RESUME and RESUMED that was encoded", [resumes], ([resume]) => {
    const { firstKept, received, token } = resume
    expect(Record.decode(Record.encodeReceived(received))).toEqual({ _tag: "Received", count: received })
    expect(Record.decode(Record.encodeResume(resume))).toEqual({ _tag: "Resume", ...resume })
    expect(Record.decode(Record.encodeResumed({ received, firstKept, token }))).toEqual({
      _tag: "Resumed",
      received,
      firstKept,
      token
    })
  })

  it("resumeRecord.decode returns undefined when a record is cut or too long", () => {
    for (const kind of ["Received", "Resume", "Resumed"] as const) {
      for (let size = 6; size < valid[kind].length; size++) {
        expect(Record.decode(valid[kind].subarray(0, size)), `${kind} of ${size} bytes`).toBeUndefined()
      }
      for (const more of [1, 8, 1000]) {
        expect(Record.decode(Buffer.concat([valid[kind], filled(more, 0)])), `${kind} and ${more}`).toBeUndefined()
      }
    }
    for (let size = 6; size < 10; size++) {
      expect(Record.decode(valid.Rejected.subarray(0, size)), `Rejected of ${size} bytes`).toBeUndefined()
    }
  })

  it("resumeRecord.decode returns undefined when a count is no whole number that a number holds", () => {
    const high = { Received: [6], Resume: [58, 66], Resumed: [6, 14] } as const
    for (const kind of ["Received", "Resume", "Resumed"] as const) {
      for (const at of high[kind]) {
        const beyond = Uint8Array.from(valid[kind])
        beyond.set(hex("0000000000002000"), at) // 2^53
        expect(Record.decode(beyond), `${kind} at ${at}`).toBeUndefined()
        beyond.set(hex("ffffffffffff1f00"), at)
        expect(Record.decode(beyond), `${kind} at ${at}`).toMatchObject({ _tag: kind })
      }
    }
  })

  it("resumeRecord.decode returns undefined when a reason is beyond 128 bytes or not UTF-8", () => {
    expect(Record.decode(Record.encodeRejected(2, "r".repeat(128)))).toEqual({
      _tag: "Rejected",
      code: 2,
      reason: "r".repeat(128)
    })
    expect(Record.decode(hex("00 ffffffff 0b 02000000") as Uint8Array)).toMatchObject({ reason: "" })
    expect(Record.decode(Buffer.concat([hex("00 ffffffff 0b 02000000"), filled(129, 0x72)]))).toBeUndefined()
    expect(Record.decode(hex("00 ffffffff 0b 02000000 ff"))).toBeUndefined()
  })

  it("resumeRecord.encodeRejected cuts a reason of more than 128 bytes between two characters", () => {
    expect(Record.decode(Record.encodeRejected(1, `${"r".repeat(127)}ä`))).toMatchObject({ reason: "r".repeat(127) })
  })

  it.prop("resumeRecord.decode returns a record of the kind or undefined for any bytes", [
    FastCheck.integer({ min: 0, max: 14 }),
    FastCheck.uint8Array({ maxLength: 80 })
  ], ([kind, body]) => {
    const record = Record.decode(Uint8Array.of(...hex("00 ffffffff"), kind, ...body))
    if (record !== undefined) expect(["Received", "Resume", "Resumed", "Rejected"][kind - 8]).toBe(record._tag)
  })

  it("resumeRecord.kindOf returns undefined when the message is a frame", () => {
    const frames = [
      Frame.encode({ _tag: "Syn", id: 1 }),
      Frame.encode({ _tag: "Dat", id: 0x00ff_ffff, payload: filled(10, 8) }),
      Frame.encode({ _tag: "Dat", id: 0xffff_ff00, payload: filled(10, 8) }),
      Frame.encode({ _tag: "Ack", id: 0xffff_ffff, credit: 8 }),
      new Uint8Array(0)
    ]
    expect(frames.map((frame) => Record.kindOf(frame))).toEqual(frames.map(() => undefined))
    expect(frames.map((frame) => Record.decode(frame))).toEqual(frames.map(() => undefined))
  })

  it("resumeRecord counts frames, HELLO, OPEN, RESET, STOP and GOAWAY, and no other kinds", () => {
    const kinds = Array.from({ length: 14 }, (_, kind) => kind)
    expect(kinds.filter(Record.isUncounted)).toEqual([6, 7, 8, 9, 10, 11])
    expect(kinds.filter(Record.isResumeKind)).toEqual([8, 9, 10, 11])
    expect(kinds.filter(Record.isPing)).toEqual([6, 7])
  })
})
