import { describe, expect, it } from "@effect/vitest"
import { header } from "effect-wsmux/cli/forwards/proxyProtocol"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const signature = "0d0a0d0a000d0a515549540a"

// The expected bytes follow section 2.2 of the specification.
describe("header", () => {
  it("header tells the addresses and ports of IPv4", () => {
    expect(hex(header({ host: "10.1.2.3", port: 0x1234 }, { host: "127.0.0.1", port: 80 }))).toBe(
      `${signature}2111000c0a0102037f00000112340050`
    )
  })

  it("header tells the addresses and ports of IPv6", () => {
    expect(hex(header({ host: "2a00::1", port: 1 }, { host: "2a00::2", port: 2 }))).toBe(
      `${signature}21210024` + "2a000000000000000000000000000001" + "2a000000000000000000000000000002" + "00010002"
    )
  })

  it("header widens an IPv4 address when the other address is of IPv6", () => {
    expect(hex(header({ host: "10.1.2.3", port: 1 }, { host: "2a00::2", port: 2 }))).toBe(
      `${signature}21210024` + "00000000000000000000ffff0a010203" + "2a000000000000000000000000000002" + "00010002"
    )
  })

  it("header leaves the destination zero when it is unknown", () => {
    expect(hex(header({ host: "10.1.2.3", port: 1 }, undefined))).toBe(`${signature}2111000c0a0102030000000000010000`)
  })

  it("header says LOCAL when the client has no address", () => {
    expect(hex(header(undefined, { host: "127.0.0.1", port: 80 }))).toBe(`${signature}20000000`)
    expect(hex(header({ host: "a unix socket", port: 0 }, undefined))).toBe(`${signature}20000000`)
  })
})
