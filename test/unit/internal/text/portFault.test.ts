import { describe, expect, it } from "@effect/vitest"
import { portFault } from "../../../../src/internal/text/portFault.js"

describe("portFault", () => {
  const wrong: ReadonlyArray<readonly [text: string, port: string]> = [
    ["99999", "99999"],
    [":65536", "65536"],
    ["[::1]:70000", "70000"],
    ["70000:db:80", "70000"],
    ["80:db:80-70000", "70000"],
    ["1.1.1.1:70000/udp", "70000"],
    ["ws://user:1@host:70000/a?b=1", "70000"],
    [`1${"0".repeat(40)}`, "10000000000000000000"]
  ]
  for (const [text, port] of wrong) {
    it(`portFault shows the port alone when given ${text.slice(0, 40)}`, () => {
      expect(portFault(text)).toBe(`expected a port from 0 to 65535, not ${port}`)
    })
  }

  for (
    const text of [
      "",
      "65535",
      "[::ffff:99999]:80",
      "db",
      "/run/99999",
      "ws://host/:99999",
      "ws://99999.example",
      "ws://:99999/x@host"
    ]
  ) {
    it(`portFault finds none when given ${text || "no text"}`, () => expect(portFault(text)).toBeUndefined())
  }
})
