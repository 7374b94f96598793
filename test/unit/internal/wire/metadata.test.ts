import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { decodeMetadata, encodeMetadata } from "../../../../src/internal/wire/metadata.js"
import { bytes } from "../../../support/bytes.js"

const names = FastCheck.oneof(FastCheck.string({ maxLength: 40 }), FastCheck.constant("__proto__"))

const metadata = FastCheck.array(FastCheck.tuple(names, FastCheck.fullUnicodeString({ maxLength: 40 })), {
  maxLength: 5
})
  .map((entries) => Object.fromEntries(entries))

describe("metadata", () => {
  it.prop("decodeMetadata returns all metadata that was encoded", [metadata], ([metadata]) => {
    expect(decodeMetadata(encodeMetadata(metadata))).toEqual(metadata)
  })

  it.prop("decodeMetadata returns undefined or metadata for any bytes", [FastCheck.uint8Array({ maxLength: 40 })], ([
    bytes
  ]) => {
    const decoded = decodeMetadata(bytes)
    if (decoded !== undefined) expect(decodeMetadata(encodeMetadata(decoded))).toEqual(decoded)
  })

  it("encodeMetadata writes the length and the text of each name and value", () => {
    expect(encodeMetadata({ a: "bc", "": "" })).toEqual(Uint8Array.of(1, 97, 2, 0, 98, 99, 0, 0, 0))
    expect(encodeMetadata({})).toEqual(new Uint8Array(0))
  })

  it("decodeMetadata keeps an entry named __proto__ as an entry", () => {
    const decoded = decodeMetadata(encodeMetadata(JSON.parse("{\"__proto__\":\"x\"}")))!
    expect(Object.entries(decoded)).toEqual([["__proto__", "x"]])
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
  })

  it("decodeMetadata refuses lengths beyond the end, and text that is not UTF-8", () => {
    for (
      const malformed of [[1], [1, 97], [1, 97, 0], [1, 97, 2, 0, 98], [0, 1, 0], [1, 0xff, 0, 0], [0, 1, 0, 0xff]]
    ) {
      expect(decodeMetadata(Uint8Array.from(malformed))).toBeUndefined()
    }
  })

  it("encodeMetadata throws when a name or a value is too long for its length field", () => {
    expect(() => encodeMetadata({ ["n".repeat(256)]: "" })).toThrow(RangeError)
    expect(() => encodeMetadata({ n: "v".repeat(65_536) })).toThrow(RangeError)
    expect(encodeMetadata({ ["n".repeat(255)]: "v" }).length).toBe(259)
    expect(decodeMetadata(bytes(""))).toEqual({})
  })
})
