import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Frame from "../../../../src/internal/wire/frame.js"
import * as Record from "../../../../src/internal/wire/record.js"
import { bytes } from "../../../support/bytes.js"

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (pair) => parseInt(pair, 16))

/** The record in a whole message. */
const decode = (message: Uint8Array): Record.DialectRecord | Frame.Malformed => {
  const frame = Frame.decode(message)
  if (frame._tag !== "Dat" || frame.id !== Record.reservedId) throw new Error(`not a record: ${frame._tag}`)
  return Record.decodeRecord(frame.payload)
}

const tagOf = (payload: string) => Record.decodeRecord(hex(payload))._tag

const uint32 = FastCheck.integer({ min: 0, max: Frame.maxUint32 })
const uint16 = FastCheck.integer({ min: 0, max: 0xffff })
const optional = <A>(arbitrary: FastCheck.Arbitrary<A>) => FastCheck.option(arbitrary, { nil: undefined })

const hellos = FastCheck.record({
  features: uint32,
  software: optional(FastCheck.fullUnicodeString({ maxLength: 40 })),
  window: optional(uint32),
  earlyCredit: optional(FastCheck.record({ perStream: uint32, inAll: uint32 })),
  longest: optional(FastCheck.record({ label: uint16, metadata: uint16 })),
  backlog: optional(uint32)
})

const defined = (hello: object) => Object.fromEntries(Object.entries(hello).filter(([, value]) => value !== undefined))

describe("Record", () => {
  const fixtures: ReadonlyArray<
    readonly [name: string, message: Uint8Array, record: Record.DialectRecord, hex: string]
  > = [
    [
      "a HELLO without TLVs",
      Record.encodeHello({ features: 1 }),
      { _tag: "Hello", features: 1 },
      "00 ffffffff 01 77737831 01000000"
    ],
    [
      "a HELLO",
      Record.encodeHello({
        features: 15,
        software: "s",
        window: 1024,
        earlyCredit: { perStream: 16, inAll: 256 },
        longest: { label: 2, metadata: 3 },
        backlog: 7
      }),
      {
        _tag: "Hello",
        features: 15,
        software: "s",
        window: 1024,
        earlyCredit: { perStream: 16, inAll: 256 },
        longest: { label: 2, metadata: 3 },
        backlog: 7
      },
      "00 ffffffff 01 77737831 0f000000 01 0100 73 02 0400 00040000 03 0800 10000000 00010000" +
      "04 0400 0200 0300 05 0400 07000000"
    ],
    [
      "an OPEN",
      Record.encodeOpen(3, 1024, Record.encodeIntroduction("rpc", { a: "b" })),
      { _tag: "Open", id: 3, window: 1024, label: "rpc", metadata: { a: "b" } },
      "00 ffffffff 02 03000000 00040000 0300 727063 0500 01 61 0100 62"
    ],
    [
      "an OPEN without label and metadata",
      Record.encodeOpen(1, 1, Record.noIntroduction),
      { _tag: "Open", id: 1, window: 1, label: "", metadata: {} },
      "00 ffffffff 02 01000000 01000000 0000 0000"
    ],
    [
      "a RESET",
      Record.encodeReset(5, 256, "no"),
      { _tag: "Reset", id: 5, code: 256, reason: "no" },
      "00 ffffffff 03 05000000 00010000 6e6f"
    ],
    ["a STOP", Record.encodeStop(5, 1), { _tag: "Stop", id: 5, code: 1 }, "00 ffffffff 04 05000000 01000000"],
    [
      "a GOAWAY",
      Record.encodeGoAway({ code: 6, graceMillis: 1000, redial: true, reason: "r" }),
      { _tag: "GoAway", code: 6, graceMillis: 1000, redial: true, reason: "r" },
      "00 ffffffff 05 06000000 e8030000 01 72"
    ],
    [
      "a PING",
      Record.encodePing(hex("0102030405060708")),
      { _tag: "Ping", payload: hex("0102030405060708") },
      "00 ffffffff 06 0102030405060708"
    ],
    [
      "a PONG",
      Record.encodePong(hex("0102030405060708")),
      { _tag: "Pong", payload: hex("0102030405060708") },
      "00 ffffffff 07 0102030405060708"
    ]
  ]
  for (const [name, message, record, expected] of fixtures) {
    it(`Record encodes and decodes the bytes of: ${name}`, () => {
      expect(message).toEqual(hex(expected))
      expect(decode(message)).toEqual(record)
    })
  }

  it.prop("Record.decodeRecord returns each HELLO that was encoded", [hellos], ([hello]) => {
    expect(decode(Record.encodeHello(hello))).toEqual({ _tag: "Hello", ...defined(hello) })
  })

  it.prop("Record.decodeRecord returns a record or a fault for any bytes", [
    FastCheck.integer({ min: 0, max: 12 }),
    FastCheck.uint8Array({ maxLength: 30 })
  ], ([kind, body]) => {
    const record = Record.decodeRecord(Uint8Array.of(kind, ...body))
    if (record._tag === "Malformed") expect(record.fault).toBe("InvalidRecord")
    else expect(record._tag === "Unknown").toBe(kind === 0 || kind > 7)
  })

  it("Record.decodeRecord skips TLVs of a HELLO that are unknown", () => {
    expect(Record.decodeRecord(hex("01 77737831 01000000 f0 0200 0102 05 0400 07000000"))).toEqual({
      _tag: "Hello",
      features: 1,
      backlog: 7
    })
  })

  it("Record.decodeRecord takes a HELLO of up to 1 KiB", () => {
    const hello = (padding: number) =>
      Uint8Array.of(...hex("01 77737831 01000000 f0"), padding & 255, padding >> 8, ...new Uint8Array(padding))
    expect(Record.decodeRecord(hello(1024 - 12))._tag).toBe("Hello")
    expect(Record.decodeRecord(hello(1024 - 11))._tag).toBe("Malformed")
  })

  it("Record.decodeRecord finds faults when fields are cut, too long, or not UTF-8", () => {
    const malformed = [
      "", // no kind
      "01", // a HELLO without its magic
      "01 77737832 01000000",
      "01 77737831 010000",
      "01 77737831 01000000 01", // a TLV that is cut
      "01 77737831 01000000 01 0200 73",
      "01 77737831 01000000 01 0100 ff", // a name that is not UTF-8
      "01 77737831 01000000 02 0300 000000", // TLVs of another size
      "01 77737831 01000000 03 0400 00000000",
      "01 77737831 01000000 04 0300 000000",
      "01 77737831 01000000 05 0500 0000000000",
      "02 01000000 01000000 0000", // an OPEN that is cut
      "02 01000000 01000000 0200 61 0000",
      "02 01000000 01000000 0000 0100",
      "02 01000000 01000000 0000 0000 00",
      "02 01000000 01000000 0100 ff 0000",
      "02 01000000 01000000 0000 0100 01",
      "03 01000000 000000",
      "03 01000000 00000000 ff",
      "04 01000000 000000",
      "04 01000000 00000000 00",
      "05 06000000 e8030000",
      "05 06000000 e8030000 00 ff",
      "06 01020304050607",
      "07 010203040506070809"
    ]
    expect(malformed.map(tagOf)).toEqual(malformed.map(() => "Malformed"))
    expect(Record.decodeRecord(Uint8Array.of(3, ...new Uint8Array(8), ...bytes("x".repeat(129))))._tag).toBe(
      "Malformed"
    )
  })

  it("Record.encodeReset cuts a long reason at 128 bytes, between two characters", () => {
    expect(decode(Record.encodeReset(1, 0, "x".repeat(200)))).toMatchObject({ reason: "x".repeat(128) })
    expect(decode(Record.encodeReset(1, 0, `${"x".repeat(127)}é`))).toMatchObject({ reason: "x".repeat(127) })
    expect(decode(Record.encodeReset(1, 0, `${"x".repeat(126)}éé`))).toMatchObject({ reason: `${"x".repeat(126)}é` })
  })

  it("Record.encodeIntroduction throws when the label or the metadata is too long", () => {
    expect(() => Record.encodeIntroduction("l".repeat(257), {})).toThrow(RangeError)
    expect(() => Record.encodeIntroduction("", { a: "v".repeat(4096) })).toThrow(RangeError)
    expect(Record.encodeIntroduction("l".repeat(256), {}).label.length).toBe(256)
  })
})
