import { expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import { socketAddresses } from "../../../../src/internal/transport/socketAddress.js"

it("socketAddresses has both ends when the socket is TCP", () => {
  const ends = { localAddress: "127.0.0.1", localPort: 1, remoteAddress: "::1", remotePort: 2 }
  expect(socketAddresses(ends)).toEqual({
    localAddress: Address.tcp("127.0.0.1", 1),
    remoteAddress: Address.tcp("::1", 2)
  })
})

it("socketAddresses has an unknown end when the runtime shows the peer alone", () => {
  expect(socketAddresses({ remoteAddress: "127.0.0.1", remotePort: 2 })).toEqual({
    localAddress: Address.opaque("unknown"),
    remoteAddress: Address.tcp("127.0.0.1", 2)
  })
})

it("socketAddresses has no paths when the socket is that of a Unix domain", () => {
  expect(socketAddresses({})).toEqual({ localAddress: Address.unix(""), remoteAddress: Address.unix("") })
})
