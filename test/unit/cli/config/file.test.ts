import { describe, expect, it, vi } from "@effect/vitest"
import type { Declared } from "effect-wsmux/cli/argv"
import { toArgs } from "effect-wsmux/cli/config/args"
import { parse } from "effect-wsmux/cli/config/file"
import * as Either from "effect/Either"

const options: ReadonlyArray<Declared> = [
  { name: "listen", kind: "text" },
  { name: "allow", kind: "texts" },
  { name: "reconnect", kind: "flag" },
  { name: "proxy", kind: "text" },
  { name: "token", kind: "text" },
  { name: "token-file", kind: "text" },
  { name: "header", kind: "texts" },
  { name: "config", kind: "text" }
]

const faults = (text: string) => Either.getOrThrow(Either.flip(parse(text, options, true)))

describe("Config", () => {
  it("Config.parse reads texts, lists and flags, and numbers as texts", () => {
    const text =
      "listen: 8080\nallow: [\"db:5432\", 80]\nreconnect: true\nlog-level: debug\nurl: wss://host/\nremotes: socks"
    expect(Either.getOrThrow(parse(text, options, true))).toEqual({
      listen: "8080",
      allow: ["db:5432", "80"],
      reconnect: true,
      "log-level": "debug",
      url: "wss://host/",
      remotes: ["socks"]
    })
    expect(Either.getOrThrow(parse("# nothing", options, false))).toEqual({})
  })

  it("Config.parse tells line and column of each fault, and the nearest name of an unknown key", () => {
    expect(faults("listen: 8080\nalow: [a]\nsomething-else: 1\nreconnect: maybe\nallow: {a: 1}")).toEqual([
      "2:1: unknown key 'alow'; did you mean 'allow'?",
      "3:1: unknown key 'something-else'",
      "4:12: reconnect: expected true or false",
      "5:8: allow: expected a list of texts"
    ])
    expect(faults("listen: 1\nlisten: 2")).toEqual([expect.stringMatching(/^2:1: Map keys must be unique/)])
    expect(faults("listen: [")).toEqual([expect.stringMatching(/^1:\d+: /)])
    expect(faults("- listen")).toEqual(["1:1: expected keys with values"])
    expect(Either.isLeft(parse("url: wss://host", options, false))).toBe(true)
  })

  it("Config.parse refuses secrets, and shows none", () => {
    const secret = "correct-horse"
    const found = [
      ...faults(`token: ${secret}`),
      ...faults(`header: ["x: ${secret}"]`),
      ...faults(`url: wss://user:${secret}@host`),
      ...faults(`url: wss://host/?token=${secret}`),
      ...faults(`proxy: http://${secret}@host`),
      ...faults("config: other.yaml")
    ]
    expect(found.map((fault) => fault.replace(/(?<= expected).*/, ""))).toEqual([
      "1:1: token: expected",
      "1:1: header: expected",
      "1:6: url: expected",
      "1:6: url: expected",
      "1:8: proxy: expected",
      "1:1: config: expected"
    ])
    expect(found.join()).not.toContain(secret)
    const malformed = [`*${secret}`, `!${secret} a`, `"a" ${secret}`, `"${secret}`, `{a: [${secret}}`, `@${secret}`]
    for (const value of malformed) expect(faults(`listen: ${value}`).join()).not.toContain(secret)
  })

  it("Config.parse tells the place of a part when one part of a list has a fault", () => {
    expect(faults("allow:\n  - db:1\n  - {a: 1}\n")).toEqual(["3:5: allow: expected a list of texts"])
    expect(faults("remotes: [\"1:db:2\",\n  \"ws://a:b@c\"]")).toEqual([
      "2:3: remotes: expected an address without user, password and query"
    ])
    expect(faults("listen: *nowhere")).toEqual([expect.stringMatching(/^1:\d+: \w/)])
  })

  it("Config.parse refuses values that the command line would take for options", () => {
    expect(faults("allow: [db:1, --help]\nurl: -h\nlisten: --wizard")).toEqual([
      "1:15: allow: expected a value, which an option is not",
      "2:6: url: expected a value, which an option is not",
      "3:9: listen: expected a value, which an option is not"
    ])
    expect(Either.isRight(parse("listen: -5", options, false))).toBe(true) // the option itself refuses numbers below 0
  })

  it("Config.parse warns of no key by its text when the key is a map", () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {})
    expect(faults("? {secret: correct-horse}\n: b")).toHaveLength(1)
    expect(warn.mock.calls).toEqual([])
    warn.mockRestore()
  })

  it("Config.toArgs writes flags, texts and lists, then the arguments without a name", () => {
    const config = {
      listen: "1",
      allow: ["a", "b"],
      reconnect: true,
      "proxy-protocol": false,
      url: "u",
      remotes: ["r"]
    }
    expect(toArgs(config)).toEqual(["--listen", "1", "--allow", "a", "--allow", "b", "--reconnect", "u", "r"])
  })
})
