import { describe, expect, it } from "@effect/vitest"
import type { Frame } from "../../../../../src/internal/wire/frame.js"
import { pattern } from "../../../../support/bytes.js"
import { ack, dat, fin, syn } from "../../../../support/scriptedPeer.js"
import { WireRules } from "../../../../support/wireRules.js"

type Step = readonly ["client" | "server", Frame]

const opened: ReadonlyArray<Step> = [["client", syn(1)], ["server", ack(1, 10)]]

const violations: Record<string, ReadonlyArray<Step>> = {
  "an id of the other side": [["client", syn(2)]],
  "opened twice": [["client", syn(1)], ["client", syn(1)]],
  "a stream without a SYN": [["server", fin(1)]],
  "bytes before the stream is accepted": [["client", syn(1)], ["client", dat(1, pattern(1))]],
  "no bytes": [...opened, ["client", dat(1, pattern(0))]],
  "bytes behind the end": [...opened, ["client", fin(1)], ["client", dat(1, pattern(1))]],
  "more bytes than credit": [...opened, ["client", dat(1, pattern(8))], ["client", dat(1, pattern(3))]],
  "accepts its own stream": [["client", syn(1)], ["client", ack(1, 10)]],
  "accepts what it has refused": [["client", syn(1)], ["server", fin(1)], ["server", ack(1, 10)]],
  "more credit than was used": [...opened, ["client", dat(1, pattern(3))], ["server", ack(1, 4)]],
  "ended twice": [...opened, ["server", fin(1)], ["server", fin(1)]],
  "ended before it was accepted": [["client", syn(1)], ["client", fin(1)]]
}

describe("WireRules", () => {
  for (const [text, steps] of Object.entries(violations)) {
    it(`WireRules reports: ${text}`, () => {
      const rules = new WireRules({ client: 10, server: 10 })
      for (const [from, frame] of steps.slice(0, -1)) rules.see(from, frame)
      const [from, frame] = steps.at(-1)!
      expect(() => rules.see(from, frame)).toThrow(`: ${text}`)
    })
  }

  it("WireRules allows a refusal and remembers it", () => {
    const rules = new WireRules({ client: 10, server: 10 })
    rules.see("client", syn(1))
    expect(rules.isRefused(1)).toBe(false)
    rules.see("server", fin(1))
    expect(rules.isRefused(1)).toBe(true)
    expect(() => rules.see("server", dat(1, pattern(1)))).toThrow("bytes before the stream is accepted")
  })

  it("WireRules allows windows to grow up to their maximum", () => {
    const rules = new WireRules({ client: 10, server: 10 }, { client: 0, server: 6 })
    for (const [from, frame] of opened) rules.see(from, frame)
    rules.see("server", ack(1, 6))
    expect(() => rules.see("server", ack(1, 1))).toThrow("more credit than was used")
  })

  it("WireRules allows extra credit only from an opener with a larger window", () => {
    const rules = new WireRules({ client: 15, server: 10 })
    for (const [from, frame] of opened) rules.see(from, frame)
    rules.see("client", ack(1, 5))
    rules.see("server", dat(1, pattern(15)))
    expect(() => rules.see("server", ack(1, 1))).toThrow("more credit than was used")
  })
})
