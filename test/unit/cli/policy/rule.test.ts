import { describe, expect, it } from "@effect/vitest"
import * as Place from "effect-wsmux/cli/forwards/place"
import * as Rule from "effect-wsmux/cli/policy/rule"
import * as fc from "effect/FastCheck"
import * as Option from "effect/Option"

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/)
const host = fc.oneof(
  fc.constant("*"),
  name,
  name.map((name) => `*.${name}`),
  fc.ipV4(),
  fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([address, bits]) => `${address}/${bits}`),
  fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([address, bits]) => `[${address}/${bits}]`)
)
const port = fc.integer({ min: 1, max: 65_535 })
const ports = fc.oneof(
  fc.constant("*"),
  port.map(String),
  fc.tuple(port, port).map((range) => range.sort((a, b) => a - b).join("-"))
)
const text = fc.tuple(fc.constantFrom("", "udp:"), host, ports).map(([protocol, host, ports]) =>
  `${protocol}${host}:${ports}`
)

const parsers = { parse: Rule.parse, parseListen: Rule.parseListen }

for (const [parser, parse] of Object.entries(parsers)) {
  describe("Rule", () => {
    it(`Rule.${parser} returns the same rule when Rule.format has printed it`, () => {
      fc.assert(fc.property(text, (text) => {
        const rule = Option.getOrThrow(parse(text))
        expect(parse(Rule.format(rule))).toEqual(Option.some(rule))
      }))
    })

    for (const path of ["/run/a.sock", "/run/*", "/*"]) {
      it(`Rule.${parser} returns the same rule when it is the path ${path}`, () => {
        expect(Rule.format(Option.getOrThrow(parse(path)))).toBe(path)
      })
    }
  })
}

describe("Rule.format", () => {
  it("Rule.format keeps the bits of an IPv6 block that is an IPv4 address without them", () => {
    const rule = Option.getOrThrow(Rule.parse("[::1:0/128]:1"))
    expect(Rule.parse(Rule.format(rule))).toEqual(Option.some(rule))
  })
})

describe("Rule.parse", () => {
  const wrong = [
    ...["", "*", "80", "db", "db:", "db:http", "db:0", "db:65536", "db:9-8", "db:1-2-3", "10.0.0.0/33:80", "a:b:80"],
    ...["fd00::/8:80", "[fd00::/129]:80", "[10.0.0.1]:80", "*.:80", "a.*:80", "*a:80", "/run/*/a", "/", "/run/", "udp:"]
  ]
  for (const text of wrong) {
    it(`Rule.parse returns none when --allow is ${JSON.stringify(text)}`, () => {
      expect(Rule.parse(text)).toEqual(Option.none())
    })
  }
})

describe("Rule.parseListen", () => {
  it("Rule.parseListen takes a port alone for the loopback, an empty host for all", () => {
    const printed = ["8080", ":8080", "udp:53", "0"].map((text) =>
      Rule.format(Option.getOrThrow(Rule.parseListen(text)))
    )
    expect(printed).toEqual(["8080", "*:8080", "udp:53", "0"])
  })

  for (const text of ["", "http", "65536", "a:b:80", "*.example.com", "9-8"]) {
    it(`Rule.parseListen returns none when --allow-remote is ${JSON.stringify(text)}`, () => {
      expect(Rule.parseListen(text)).toEqual(Option.none())
    })
  }
})

describe("Rule.only", () => {
  it("Rule.only names the target and nothing else", () => {
    const printed = [Place.port("DB", 80), Place.port("::1", 80), Place.port("10.0.0.1", 80), Place.path("/a")]
    expect(printed.map(Rule.only).map(Rule.format)).toEqual(["db:80", "[::1]:80", "10.0.0.1:80", "/a"])
  })
})
