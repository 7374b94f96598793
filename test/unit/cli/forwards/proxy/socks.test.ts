import { describe, expect, it } from "@effect/vitest"
import * as Place from "effect-wsmux/cli/forwards/place"
import * as Socks from "effect-wsmux/cli/forwards/proxy/socks"

const shown = (...bytes: ReadonlyArray<number>) => {
  const datagram = Socks.parseDatagram(Buffer.from(bytes))
  return datagram && [Place.format(datagram.target), datagram.header.length, Buffer.from(datagram.payload).toString()]
}

const hi = [...Buffer.from("hi")]

describe("Socks", () => {
  it("Socks.parseDatagram reads names and addresses of both families, and empty datagrams", () => {
    expect(shown(0, 0, 0, 1, 10, 0, 0, 7, 0, 53, ...hi)).toEqual(["10.0.0.7:53", 10, "hi"])
    expect(shown(0, 0, 0, 3, 2, 100, 98, 0, 53, ...hi)).toEqual(["db:53", 9, "hi"])
    expect(shown(0, 0, 0, 4, ...Array.from({ length: 15 }, () => 0), 1, 0, 53)).toEqual(["[::1]:53", 22, ""])
  })

  it("Socks.parseDatagram drops fragments, and datagrams that are cut off or name no target", () => {
    const whole = [0, 0, 0, 3, 2, 100, 98, 0, 53]
    for (let length = 0; length < whole.length; length++) expect(shown(...whole.slice(0, length))).toBe(undefined)
    expect(shown(0, 0, 1, 1, 10, 0, 0, 7, 0, 53, ...hi)).toBe(undefined)
    expect(shown(0, 0, 0, 2, 10, 0, 0, 7, 0, 53, ...hi)).toBe(undefined)
    expect(shown(0, 0, 0, 1, 10, 0, 0, 7, 0, 0, ...hi)).toBe(undefined)
    expect(shown(0, 0, 0, 3, 2, 47, 47, 0, 53, ...hi)).toBe(undefined)
  })

  it("Socks.parseRequest takes UDP ASSOCIATE only when the proxy can associate", () => {
    const request = Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0x12, 0x34])
    expect(Socks.parseRequest(true)(request)).toEqual({ _tag: "Complete", value: { from: 0x1234 } })
    expect(Socks.parseRequest(false)(request)).toMatchObject({ _tag: "Malformed" })
  })

  it("Socks.associated tells an address of either family", () => {
    expect([...Socks.associated(Place.port("127.0.0.1", 258))]).toEqual([5, 0, 0, 1, 127, 0, 0, 1, 1, 2])
    expect([...Socks.associated(Place.port("fe80::1%eth0", 1))].slice(0, 6)).toEqual([5, 0, 0, 4, 0xfe, 0x80])
  })
})
