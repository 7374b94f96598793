import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { isEqual, randomSecret, toBytes, toSecret } from "../../../../src/internal/resume/secret.js"

const anyBytes = FastCheck.uint8Array({ maxLength: 64 })

describe("Secret", () => {
  it.prop("Secret holds the bytes that it was made of", { bytes: anyBytes }, ({ bytes }) => {
    expect(toBytes(toSecret(bytes))).toEqual(bytes)
  })

  it.prop("Secret.isEqual tells whether all bytes are the same", { a: anyBytes, b: anyBytes }, ({ a, b }) => {
    expect(isEqual(toSecret(a), toSecret(a))).toBe(true)
    expect(isEqual(toSecret(a), toSecret(b))).toBe(Buffer.compare(a, b) === 0)
    expect(isEqual(toSecret(a), `${toSecret(a)}\0`)).toBe(false)
  })

  it("Secret.randomSecret has the given size and is another one each time", () => {
    const secrets = [randomSecret(32), randomSecret(32)]
    expect(secrets.map((secret) => toBytes(secret).length)).toEqual([32, 32])
    expect(secrets[0]).not.toBe(secrets[1])
  })
})
