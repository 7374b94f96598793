import { describe, expect, it } from "@effect/vitest"
import * as Policy from "effect-wsmux/cli/policy/policy"
import * as Rule from "effect-wsmux/cli/policy/rule"
import * as Option from "effect/Option"

const rules = (allow: ReadonlyArray<string>, listen: ReadonlyArray<string> = []): Policy.Rules => ({
  connect: allow.map((text) => Option.getOrThrow(Rule.parse(text))),
  listen: listen.map((text) => Option.getOrThrow(Rule.parseListen(text)))
})

const isAllowed = (rules: Policy.Rules, target: Policy.Target): boolean =>
  Policy.ofRules(rules).decide(undefined, target)._tag === "Allowed"

/** Whether a connection to the host is allowed, once the host is resolved to the address. */
const connects = (allow: ReadonlyArray<string>, host: string, port: number, address?: string): boolean => {
  const protocol = "tcp"
  return isAllowed(rules(allow), { _tag: "Host", protocol, host, port }) &&
    (address === undefined || isAllowed(rules(allow), { _tag: "Address", protocol, name: host, address, port }))
}

const listens = (allow: string, host: string, port: number): boolean =>
  isAllowed(rules([], [allow]), { _tag: "Listen", protocol: "tcp", host, port })

describe("Policy.decide", () => {
  it("Policy.decide refuses every target with the same reason when no rule names it", () => {
    const targets: ReadonlyArray<Policy.Target> = [
      { _tag: "Host", protocol: "tcp", host: "127.0.0.1", port: 80 },
      { _tag: "Host", protocol: "udp", host: "db", port: 80 },
      { _tag: "Address", protocol: "tcp", name: "db", address: "10.0.0.1", port: 80 },
      { _tag: "Path", path: "/run/a.sock" },
      { _tag: "Listen", protocol: "tcp", host: "127.0.0.1", port: 8080 },
      { _tag: "ListenPath", path: "/run/a.sock" }
    ]
    for (const target of targets) {
      expect(Policy.decide(rules([]), target)).toEqual({ _tag: "Refused", reason: "the server does not allow it" })
    }
  })

  const cases: ReadonlyArray<
    readonly [allow: string, host: string, port: number, address: string | undefined, boolean]
  > = [
    ["127.0.0.1:80", "127.0.0.1", 80, undefined, true],
    ["127.0.0.1:80", "127.0.0.1", 81, undefined, false],
    ["127.0.0.1:80", "127.0.0.2", 80, undefined, false],
    ["10.0.0.0/8:8000-8999", "10.1.2.3", 8999, undefined, true],
    ["10.0.0.0/8:8000-8999", "10.1.2.3", 9000, undefined, false],
    ["10.0.0.0/8:*", "11.0.0.1", 80, undefined, false],
    ["10.0.0.0/8:80", "db", 80, "10.0.0.7", true],
    ["10.0.0.0/8:80", "db", 80, "127.0.0.1", false],
    ["[fd00::/8]:80", "fd12::1", 80, undefined, true],
    ["[fd00::/8]:80", "fe80::1", 80, undefined, false],
    ["*:*", "169.254.169.254", 80, undefined, true],
    ["db:5432", "db", 5432, "10.0.0.7", true],
    ["db:5432", "DB.", 5432, "10.0.0.7", true],
    ["db:5432", "db", 5432, "203.0.113.7", false], // reserved for documents
    ["db:5432", "db", 5432, "93.184.216.34", true],
    ["db:5432", "db", 5432, "127.0.0.1", false],
    ["db:5432", "db", 5432, "169.254.169.254", false],
    ["db:5432", "db", 5432, "::1", false],
    ["db:5432", "other", 5432, "10.0.0.7", false],
    ["db:5432", "10.0.0.7", 5432, undefined, false],
    ["localhost:5432", "localhost", 5432, "::1", true],
    ["*.example.com:443", "a.example.com", 443, "93.184.216.34", true],
    ["*.example.com:443", "example.com", 443, "93.184.216.34", false],
    ["*.example.com:443", "notexample.com", 443, "93.184.216.34", false],
    ["*.example.com:443", "a.example.com", 443, "10.0.0.7", false],
    ["*.example.com:443", "a.example.com", 443, "fd00::1", false],
    ["udp:1.1.1.1:53", "1.1.1.1", 53, undefined, false]
  ]
  for (const [allow, host, port, address, expected] of cases) {
    const at = address === undefined ? "" : ` at ${address}`
    it(`Policy.decide ${expected ? "allows" : "refuses"} ${host}:${port}${at} when --allow is ${allow}`, () => {
      expect(connects([allow], host, port, address)).toBe(expected)
    })
  }

  const loopbacks = [
    ...["::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "::ffff:0:7f00:1", "2002:7f00:1::"],
    ...["2001::80ff:fffe", "fe80::5efe:7f00:1", "0:0:0:0:0:ffff:127.0.0.1"]
  ]
  for (const address of loopbacks) {
    it(`Policy.decide judges ${address} as 127.0.0.1`, () => {
      expect(connects(["127.0.0.1:80"], address, 80)).toBe(true)
      expect(connects(["[::/0]:80", "[2000::/3]:80"], address, 80)).toBe(false)
      expect(connects(["db:80", "*.example.com:80"], "db", 80, address)).toBe(false)
      expect(connects(["*.example.com:80"], "a.example.com", 80, address)).toBe(false)
    })
  }

  it("Policy.decide refuses link-local addresses of IPv6 when they have a zone", () => {
    expect(connects(["[2000::/3]:80"], "fe80::1%eth0", 80)).toBe(false)
    expect(connects(["[fe80::/10]:80"], "fe80::1%eth0", 80)).toBe(true)
  })

  it("Policy.decide takes short and octal forms of IPv4 for names, whose address it judges", () => {
    for (const host of ["127.1", "0x7f000001", "2130706433", "0177.0.0.1"]) {
      expect(connects(["10.0.0.0/8:80"], host, 80, "127.0.0.1")).toBe(false)
      expect(connects(["127.0.0.0/8:80"], host, 80, "127.0.0.1")).toBe(true)
    }
  })

  it("Policy.decide allows udp only by rules for udp", () => {
    const target = { _tag: "Host", protocol: "udp", host: "1.1.1.1", port: 53 } as const
    expect(isAllowed(rules(["udp:1.1.1.1:53"]), target)).toBe(true)
    expect(isAllowed(rules(["*:*"]), target)).toBe(false)
  })

  const paths: ReadonlyArray<readonly [allow: string, path: string, boolean]> = [
    ["/run/a.sock", "/run/a.sock", true],
    ["/run/a.sock", "/run/b.sock", false],
    ["/run/*", "/run/app/a.sock", true],
    ["/run/*", "/run/../etc/a.sock", false],
    ["/run/*", "/running/a.sock", false],
    ["/run/a.sock", "/run//a.sock", false],
    ["*:*", "/run/a.sock", false]
  ]
  for (const [allow, path, expected] of paths) {
    it(`Policy.decide ${expected ? "allows" : "refuses"} the socket ${path} when --allow is ${allow}`, () => {
      expect(isAllowed(rules([allow]), { _tag: "Path", path })).toBe(expected)
    })
  }

  const listeners: ReadonlyArray<readonly [allow: string, host: string, port: number, boolean]> = [
    ["8080", "127.0.0.1", 8080, true],
    ["8080", "::1", 8080, true],
    ["8080", "localhost", 8080, true],
    ["8080", "0.0.0.0", 8080, false],
    ["8080", "*", 8080, false],
    ["8080", "::ffff:0.0.0.0", 8080, false],
    ["8080", "::ffff:127.0.0.1", 8080, true],
    ["8080", "192.168.0.1", 8080, false],
    ["*:8080", "*", 8080, true],
    ["0.0.0.0:8080", "0.0.0.0", 8080, true],
    ["0.0.0.0:8080", "*", 8080, false],
    ["192.168.0.0/16:8080", "192.168.0.1", 8080, true],
    ["192.168.0.0/16:8080", "0.0.0.0", 8080, false],
    ["*", "127.0.0.1", 0, true],
    ["*", "127.0.0.1", 1024, true],
    ["*", "127.0.0.1", 1023, false],
    ["1-65535", "127.0.0.1", 80, true],
    ["80", "127.0.0.1", 80, true],
    ["8000-8999", "127.0.0.1", 0, false]
  ]
  for (const [allow, host, port, expected] of listeners) {
    it(`Policy.decide ${expected ? "allows" : "refuses"} to listen at ${host}:${port} by ${allow}`, () => {
      expect(listens(allow, host, port)).toBe(expected)
    })
  }
})
