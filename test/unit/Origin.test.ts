import { describe, expect, it } from "@effect/vitest"
import * as Origin from "effect-wsmux/Origin"

const host = "app.example:8080"

describe("Origin.isAllowed", () => {
  const own: ReadonlyArray<readonly [what: string, origin: string, host: string]> = [
    ["the same host and port", "http://app.example:8080", host],
    ["the same in capital letters", "http://APP.example:8080", "App.Example:8080"],
    ["the same behind a proxy that ends TLS", "https://app.example:8080", host],
    ["the port that the scheme implies", "https://app.example", "app.example"],
    ["the port that the scheme implies, and the host names it", "https://app.example", "app.example:443"],
    ["the same without TLS", "http://app.example", "app.example:80"],
    ["the IPv6 address in another spelling", "https://[2001:db8::1]", "[2001:0DB8:0::1]:443"],
    ["the same IPv4 address", "http://192.0.2.1:8080", "192.0.2.1:8080"],
    ["the same IPv6 address", "http://[2001:db8::1]:8080", "[2001:db8::1]:8080"]
  ]
  for (const [what, origin, host] of own) {
    it(`Origin.isAllowed accepts: ${what}`, () => expect(Origin.isAllowed({ host, origin })).toBe(true))
  }

  const foreign: ReadonlyArray<readonly [what: string, origin: string, host: string | undefined]> = [
    ["the opaque origin null", "null", host],
    ["empty", "", host],
    ["another port", "http://app.example:8081", host],
    ["the default port, and the server has another", "http://app.example", host],
    ["a port, and the server has the default port", "http://app.example:8080", "app.example"],
    ["the default port of the other scheme", "https://app.example", "app.example:80"],
    ["the default port of the other scheme, without TLS", "http://app.example", "app.example:443"],
    ["the host of the server as the user of the request's host", "http://evil.example", "app.example@evil.example"],
    ["the request's host with a path", "http://app.example", "app.example/path"],
    ["the request's host with an invalid port", "http://app.example", "app.example:port"],
    ["of a scheme without hosts", "chrome-extension://app.example", "app.example"],
    ["a host that begins the same", "http://app.example:8080.evil.example", host],
    ["a host that begins the same, by name", "http://app.example.evil.example:8080", host],
    ["a host that ends the same", "http://evil-app.example:8080", host],
    ["a name with the dot at its end", "http://app.example.:8080", host],
    ["the host of the server as a user", "http://app.example:8080@evil.example", host],
    ["the host of the server as a user and its password", "http://app.example:8080@evil.example:8080", host],
    ["the host of the server as a path", "http://evil.example/app.example:8080", host],
    ["the host of the server behind a backslash", "http://evil.example\\@app.example:8080", host],
    ["the host of the server as a query", "http://evil.example?app.example:8080", host],
    ["the host of the server as a fragment", "http://evil.example#@app.example:8080", host],
    ["two of them, as Node joins headers", `http://${host}, http://evil.example`, host],
    ["without a scheme", "app.example:8080", host],
    ["without a scheme, and the request without a host", "app.example:8080", ""],
    ["a file, and the request without a host", "file:///tmp/page.html", ""],
    ["the host of the server, and the request without a host", "http://app.example:8080", undefined],
    ["another IPv6 address", "http://[2001:db8::2]:8080", "[2001:db8::1]:8080"],
    ["the loopback, by its other name", "http://localhost:8080", "127.0.0.1:8080"]
  ]
  for (const [what, origin, host] of foreign) {
    it(`Origin.isAllowed refuses: ${what}`, () => expect(Origin.isAllowed({ host, origin })).toBe(false))
  }

  it("Origin.isAllowed refuses http for a request over TLS unless the origin is listed", () => {
    const [plain, secure] = [`http://${host}`, `https://${host}`]
    expect([plain, secure].map((origin) => Origin.isAllowed({ host, origin }, undefined, true))).toEqual([false, true])
    expect(Origin.isAllowed({ host, origin: plain }, [plain], true)).toBe(true)
    expect(Origin.isAllowed({ host }, undefined, true)).toBe(true)
  })

  it("Origin.isAllowed refuses a request with two origins", () => {
    expect(Origin.isAllowed({ host, origin: [`http://${host}`, `http://${host}`] })).toBe(false)
    expect(Origin.isAllowed({ host, origin: [`http://${host}`] }, [`http://${host}`])).toBe(false)
  })

  it("Origin.isAllowed accepts only listed origins when there is a list", () => {
    const named = ["https://page.example"]
    const verdicts = [
      "https://page.example",
      "http://page.example",
      "https://page.example:443",
      "https://page.example/"
    ]
      .map((origin) => Origin.isAllowed({ host, origin }, named))
    expect(verdicts).toEqual([true, false, false, false])
    expect(Origin.isAllowed({ host, origin: `http://${host}` }, named)).toBe(false)
    expect(Origin.isAllowed({ host, origin: `http://${host}` }, [])).toBe(false)
  })

  it("Origin.isAllowed ignores a default port, a path and capital letters in the list", () => {
    for (const named of ["https://page.example:443", "https://page.example/", "HTTPS://Page.Example"]) {
      expect(Origin.isAllowed({ host, origin: "https://page.example" }, [named])).toBe(true)
      expect(Origin.isAllowed({ host, origin: "http://page.example" }, [named])).toBe(false)
    }
    expect(Origin.isAllowed({ host, origin: "null" }, ["file:///page.html"])).toBe(false)
    expect(Origin.isAllowed({ host, origin: "chrome-extension://page" }, ["chrome-extension://page"])).toBe(true)
  })

  it("Origin.isAllowed accepts a request without an origin", () => {
    expect(
      [undefined, [], ["https://page.example"], "*" as const].map((allowed) => Origin.isAllowed({ host }, allowed))
    )
      .toEqual([true, true, true, true])
    expect(Origin.isAllowed({ host, origin: "https://evil.example" }, "*")).toBe(true)
  })
})
