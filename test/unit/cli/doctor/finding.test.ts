import { describe, expect, it } from "@effect/vitest"
import { fail, format, median, millis, ok } from "../../../../src/cli/doctor/finding.js"

describe("Finding", () => {
  it("Finding.format puts the advice on a line below when the verdict is not ok", () => {
    expect(format(ok("tcp", "answers"))).toBe("ok    tcp         answers")
    expect(format(fail("tls", "expired", "renew it"))).toBe(
      ["fail  tls         expired", "                  renew it"].join("\n")
    )
  })

  it("Finding.format keeps one line for each text when a peer sends control characters", () => {
    expect(format(ok("peer", "a\nb\u001b[31m"))).toBe("ok    peer        a b\ufffd[31m")
  })

  it("Finding.median is the middle, and millis has a digit only below ten", () => {
    expect([median([9, 1, 5]), median([]), millis(0.123), millis(12.7)]).toEqual([5, 0, "0.1 ms", "13 ms"])
  })
})
