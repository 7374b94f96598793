import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { plainText } from "../../../../src/internal/text/plainText.js"

describe("plainText", () => {
  const cases: ReadonlyArray<readonly [what: string, text: string, plain: string]> = [
    ["escape sequences", "a\u001b[2J\u001b]0;b\u0007c", "a\ufffd[2J\ufffd]0;b\ufffdc"],
    ["C1 controls", "a\u009b2J\u0090b", "a\ufffd2J\ufffdb"],
    ["DEL and NUL", "a\u007fb\u0000c", "a\ufffdb\ufffdc"],
    ["line breaks and tabs", "a\r\nb\tc\u0085d\u2028e\u2029f", "a b c d e f"],
    ["bidirectional overrides and isolates", "a\u202eb\u2066c\u2069\u200f", "abc"],
    ["characters of zero width", "a\u200bb\u200d\ufeffc\u00add\u2060", "abcd"],
    ["tags, fillers and variation selectors", "a\u{e0041}b\u115fc\u3164d\ufe0f", "abcd"],
    ["halves of surrogate pairs", "a\ud83db\ude00c", "a\ufffdb\ufffdc"]
  ]
  for (const [what, text, plain] of cases) {
    it(`plainText removes or replaces ${what}`, () => expect(plainText(text)).toBe(plain))
  }

  it("plainText keeps letters, marks, symbols and spaces of every script", () => {
    const text = "going away: Ärger, 東京, العربية, हिन्दी, 😀 (4001) — “x”"
    expect(plainText(text)).toBe(text)
  })

  it("plainText cuts text at 512 units and keeps surrogate pairs whole", () => {
    expect(plainText("x".repeat(512))).toBe("x".repeat(512))
    expect(plainText("x".repeat(513))).toBe(`${"x".repeat(511)}…`)
    expect(plainText(`${"x".repeat(510)}😀😀`)).toBe(`${"x".repeat(510)}…`)
  })

  it("plainText returns one bounded line for any text, and returns that line unchanged", () => {
    FastCheck.assert(FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 1024 }), (text) => {
      const plain = plainText(text)
      expect(plain.length).toBeLessThanOrEqual(512)
      expect(plain).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
      expect(plainText(plain)).toBe(plain)
    }))
  })
})
