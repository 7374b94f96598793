import { describe, expect, it } from "@effect/vitest"
import { pattern } from "../../../../support/bytes.js"
import { goAway, hello, type Message, open, reset, stop } from "../../../../support/records.js"
import { ack, dat, fin, syn } from "../../../../support/scriptedPeer.js"
import { WireRules } from "../../../../support/wireRules.js"

type Step = readonly ["client" | "server", Message]

const opened: ReadonlyArray<Step> = [["client", syn(1)], ["server", ack(1, 10)]]

/** Both ends speak the dialect, and 4 bytes may precede the acceptance. */
const negotiated: ReadonlyArray<Step> = [
  ["client", hello({ window: 7 })],
  ["server", hello({ earlyCredit: { perStream: 4, inAll: 9 } })]
]

const native: ReadonlyArray<Step> = [...negotiated, ["client", open(1, 7)], ["server", ack(1, 6)]]

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
  "ended before it was accepted": [["client", syn(1)], ["client", fin(1)]],
  "a HELLO behind other messages": [["client", syn(1)], ["client", hello()]],
  "a record without the dialect": [["client", hello()], ["client", open(1)]],
  "stopped twice": [...native, ["server", stop(1, 0)], ["server", stop(1, 0)]],
  "stopped before it was accepted": [...negotiated, ["client", open(1)], ["server", stop(1, 0)]]
}

const nativeViolations: Record<string, ReadonlyArray<Step>> = {
  "more bytes than credit": [...negotiated, ["client", open(1)], ["client", dat(1, pattern(5))]],
  "bytes behind the end": [...native, ["client", reset(1, 2)], ["client", dat(1, pattern(1))]],
  "ended twice": [...native, ["client", fin(1)], ["client", reset(1, 2)]],
  "more credit than was used": [...native, ["client", ack(1, 1)]],
  "opened twice": [...native, ["client", open(1)]],
  "opened behind its own GOAWAY": [...native, ["client", goAway(5)], ["server", open(2)], ["client", open(3)]],
  "accepts what it has refused": [...negotiated, ["client", open(1)], ["server", reset(1, 3)], ["server", ack(1, 6)]]
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

  for (const [text, steps] of Object.entries(nativeViolations)) {
    it(`WireRules reports between native peers: ${text}`, () => {
      const rules = new WireRules({ client: 7, server: 10 })
      for (const [from, message] of steps.slice(0, -1)) rules.see(from, message)
      const [from, message] = steps.at(-1)!
      expect(() => rules.see(from, message)).toThrow(`: ${text}`)
    })
  }

  it("WireRules allows early bytes, both windows, a reset and a stop between native peers", () => {
    const rules = new WireRules({ client: 7, server: 10 })
    const steps: ReadonlyArray<Step> = [
      ...negotiated,
      ["client", open(1, 7)],
      ["client", dat(1, pattern(4))],
      ["server", ack(1, 6)],
      ["client", dat(1, pattern(6))],
      ["server", dat(1, pattern(7))],
      ["client", stop(1, 0)],
      ["server", reset(1, 0)],
      ["client", reset(1, 2)]
    ]
    for (const [from, message] of steps) rules.see(from, message)
    expect(() => rules.see("server", dat(1, pattern(1)))).toThrow("bytes behind the end")
  })

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
