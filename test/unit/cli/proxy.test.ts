import { afterEach, describe, expect, it, vi } from "@effect/vitest"
import * as Proxy from "effect-wsmux/cli/proxy"
import { HttpsProxyAgent } from "https-proxy-agent"
import { SocksProxyAgent } from "socks-proxy-agent"

const variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "WS_PROXY", "WSS_PROXY"]

/** Sets these variables, and clears the others that name proxies. */
const setVariables = (given: Readonly<Record<string, string>>) => {
  for (const name of variables) {
    vi.stubEnv(name, given[name] ?? "")
    vi.stubEnv(name.toLowerCase(), "")
  }
}

afterEach(() => void vi.unstubAllEnvs())

describe("Proxy", () => {
  for (
    const [given, href] of [
      ["http://proxy.example:3128", "http://proxy.example:3128/"],
      ["https://user:pass@proxy.example", "https://user:pass@proxy.example/"],
      ["socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"],
      ["proxy.example:3128", "http://proxy.example:3128/"],
      ["[::1]:3128", "http://[::1]:3128/"]
    ] as const
  ) {
    it(`Proxy.parse takes ${given}`, () => {
      expect(Proxy.parse(given)?.href).toBe(href)
    })
  }

  for (const given of ["", "http://", "ftp://proxy.example", "ws://proxy.example", "proxy.example:99999", "a b"]) {
    it(`Proxy.parse refuses ${JSON.stringify(given)}`, () => {
      expect(Proxy.parse(given)).toBeUndefined()
    })
  }

  it("Proxy.ofEnvironment asks for HTTPS_PROXY for wss and for HTTP_PROXY for ws", () => {
    setVariables({ HTTPS_PROXY: "http://secure:1", HTTP_PROXY: "http://plain:1", ALL_PROXY: "http://all:1" })
    expect(Proxy.ofEnvironment("wss://relay.example/x")).toBe("http://secure:1")
    expect(Proxy.ofEnvironment("WS://relay.example")).toBe("http://plain:1")
  })

  it("Proxy.ofEnvironment falls back to ALL_PROXY", () => {
    setVariables({ ALL_PROXY: "socks5://all:1" })
    expect(Proxy.ofEnvironment("wss://relay.example")).toBe("socks5://all:1")
  })

  it("Proxy.ofEnvironment takes a text without a scheme for a proxy for HTTP", () => {
    setVariables({ HTTPS_PROXY: "proxy.example:3128" })
    expect(Proxy.parse(Proxy.ofEnvironment("wss://relay.example"))?.href).toBe("http://proxy.example:3128/")
  })

  it("Proxy.ofEnvironment prefers the names in lower case", () => {
    setVariables({ HTTPS_PROXY: "http://upper:1" })
    vi.stubEnv("https_proxy", "http://lower:1")
    expect(Proxy.ofEnvironment("wss://relay.example")).toBe("http://lower:1")
    expect(Proxy.variableOf("wss://relay.example")).toBe("https_proxy")
  })

  it("Proxy.ofEnvironment names no proxy for hosts of NO_PROXY", () => {
    setVariables({ HTTPS_PROXY: "http://secure:1", NO_PROXY: "localhost,.inside.example,relay.example:8443" })
    expect(Proxy.ofEnvironment("wss://a.inside.example")).toBe("")
    expect(Proxy.ofEnvironment("wss://relay.example:8443")).toBe("")
    expect(Proxy.ofEnvironment("wss://relay.example")).toBe("http://secure:1")
    expect(Proxy.ofEnvironment("no address")).toBe("")
  })

  it("Proxy.agent lets SOCKS proxies resolve the names of servers", () => {
    expect(Proxy.agent(new URL("http://proxy:1"))).toBeInstanceOf(HttpsProxyAgent)
    for (const scheme of ["socks", "socks5", "socks4", "socks5h"]) {
      const agent = Proxy.agent(new URL(`${scheme}://user:pass@proxy:1080`)) as SocksProxyAgent
      expect(agent).toBeInstanceOf(SocksProxyAgent)
      expect(agent.shouldLookup).toBe(false)
      expect(agent.proxy).toMatchObject({ host: "proxy", port: 1080 })
    }
  })
})
