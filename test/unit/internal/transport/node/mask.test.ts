import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { mask } from "../../../../../src/internal/transport/node/mask.js"
import { pattern } from "../../../../support/bytes.js"

describe("mask", () => {
  it.prop(
    "mask combines each byte with its byte of the key, and leaves the bytes around them",
    [
      FastCheck.integer({ min: 0, max: 2000 }),
      FastCheck.nat(9),
      FastCheck.uint8Array({ minLength: 4, maxLength: 4 }),
      FastCheck.nat(7)
    ],
    ([size, start, key, offset]) => {
      const before = pattern(size + start + 5)
      const bytes = new Uint8Array(new ArrayBuffer(before.byteLength + offset), offset)
      bytes.set(before)
      mask(bytes, start, start + size, key)
      const expected = before.map((byte, i) => i < start || i >= start + size ? byte : byte ^ key[(i - start) % 4]!)
      expect(Buffer.compare(bytes, expected)).toBe(0)
    }
  )
})
