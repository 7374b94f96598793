import { describe, expect, it } from "@effect/vitest"
import type { Declared } from "effect-wsmux/cli/argv"
import { place } from "effect-wsmux/cli/config/fault"
import { parse } from "effect-wsmux/cli/config/file"
import * as Either from "effect/Either"

const listen: Declared = { name: "listen", kind: "text" }
const local: Declared = { name: "local", kind: "texts" }
const allow: Declared = { name: "allow", kind: "texts" }
const fallback: Declared = { name: "fallback-url", kind: "texts" }

const options = new Map([
  ["--listen", listen],
  ["--local", local],
  ["-L", local],
  ["--allow", allow],
  ["--fallback-url", fallback]
])

/** Places a fault in a file of these lines. */
const placed = (fault: string, ...lines: ReadonlyArray<string>) => {
  const text = lines.join("\n")
  const config = Either.getOrThrow(parse(text, [...new Set(options.values())], true))
  return place(fault, { path: "a.yaml", text, config, options })
}

describe("Fault", () => {
  const faults: ReadonlyArray<readonly [what: string, fault: string, lines: ReadonlyArray<string>, placed: string]> = [
    ["a text", "--listen: expected it", ["# a comment", "listen:  nonsense"], "2:10: listen: expected it"],
    ["an empty text", "Expected a value following option: '--listen'", ["listen: ''"], "1:9: listen: expected a value"],
    ["a part of a list", "--allow: it, not 'b'", ["allow:", "  - db:1", "  - b"], "3:5: allow: it, not 'b'"],
    ["a text for a list", "--allow: expected it, not 'b'", ["allow: b"], "1:8: allow: expected it, not 'b'"],
    ["a short option", "-L: expected it, not 'x'", ["local: [\"1:a:2\", x]"], "1:18: local: expected it, not 'x'"],
    [
      "an address that others can reach",
      "-L: other machines can reach 0.0.0.0:80, so give --allow-anonymous",
      ["local: [\"1:a:2\"]", "remotes: [\"0.0.0.0:80:db:80\"]"],
      "2:11: remotes: other machines can reach 0.0.0.0:80, so give --allow-anonymous"
    ],
    ["a remote", "<remote>: expected it, not 'x'", ["remotes: [ x ]"], "1:12: remotes: expected it, not 'x'"],
    ["an address", "cannot connect to foo: not a ws://", ["url: foo"], "1:6: url: cannot connect to foo: not a ws://"],
    [
      "another address",
      "--fallback-url: cannot connect to foo: not a ws://",
      ["url: ws://a", "fallback-url: [ws://b, foo]"],
      "2:24: fallback-url: cannot connect to foo: not a ws://"
    ],
    [
      "an option beside others",
      "--tls-cert, --listen: expected both",
      ["listen: 1"],
      "1:9: --tls-cert, --listen: expected both"
    ]
  ]
  for (const [what, fault, lines, expected] of faults) {
    it(`Fault.place tells the place in the file when ${what} has a fault`, () => {
      expect(placed(fault, ...lines)).toBe(`a.yaml:${expected}`)
    })
  }

  it("Fault.place keeps a fault when the file has no value of that option", () => {
    for (const fault of ["--listen: expected host:port", "Expected to find option: '--listen'", "no option at all"]) {
      expect(placed(fault, "allow: [a]")).toBe(fault)
    }
  })
})
