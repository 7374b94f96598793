import { afterEach, describe, expect, it, vi } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { mask } from "../../../../../src/internal/transport/node/mask.js"
import { pattern } from "../../../../support/bytes.js"

// One after the other: the first test replaces a function of the process.
describe.sequential("mask", () => {
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
    vi.resetModules()
  })

  it("mask searches bufferutil once when bufferutil is not installed", async () => {
    vi.stubEnv("WS_NO_BUFFER_UTIL", "")
    const search = vi.fn(() => {
      throw new Error("not installed")
    })
    vi.spyOn(process, "getBuiltinModule").mockImplementation(() => ({ createRequire: () => search }) as never)
    vi.resetModules()
    const fresh = await import("../../../../../src/internal/transport/node/mask.js")
    const key = new Uint8Array(4)
    for (let i = 0; i < 3; i++) fresh.mask(new Uint8Array(1000), 0, 1000, key)
    expect(search).toHaveBeenCalledTimes(1)
  })

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
