import { describe, expect, it } from "@effect/vitest"
import * as Endpoint from "effect-wsmux/cli/endpoint"
import * as Option from "effect/Option"

describe("Endpoint", () => {
  for (const address of ["127.0.0.1:80", "127.255.0.1:0", "[::1]:80", "localhost:80", "80", ":80"]) {
    it(`Endpoint.isLoopback is true for ${address}`, () => {
      expect(Option.map(Endpoint.parse(address), Endpoint.isLoopback)).toEqual(Option.some(true))
    })
  }

  const reachable = [
    ...["0.0.0.0:80", "128.0.0.1:80", "126.255.255.255:80", "192.168.0.1:80"],
    ...[
      "[::]:80",
      "[0:0:0:0:0:0:0:0]:80",
      "[::ffff:0.0.0.0]:80",
      "[::ffff:127.0.0.1]:80",
      "[::2]:80",
      "[fe80::1%lo]:80"
    ],
    ...["localhost.:80", "localhost.example:80", "xlocalhost:80", "LOCALHOST:80", "localhost :80", " 127.0.0.1:80"],
    ...[
      "127.0.0.1.example:80",
      "127.0.0.1x:80",
      "127.example:80",
      "0x7f.0.0.1:80",
      "0x0:80",
      "host.example:80",
      "*:80",
      "[]:80"
    ]
  ]
  for (const address of reachable) {
    it(`Endpoint.isLoopback is false for ${JSON.stringify(address)}`, () => {
      expect(Option.map(Endpoint.parse(address), Endpoint.isLoopback)).toEqual(Option.some(false))
    })
  }

  const none = [
    ...["0:80", "127.1:80", "127.0.1:80", "2130706433:80", "017700000001:80", "127.0.0.01:80", "127.0.0.256:80"],
    ...[
      "",
      ":",
      "65536",
      "[127.0.0.1]:80",
      "[localhost]:80",
      "::1:80",
      "::",
      "127.0.0.1:",
      "127.0.0.1:+80",
      "127.0.0.1:8 0"
    ]
  ]
  for (const address of none) {
    it(`Endpoint.parse refuses ${JSON.stringify(address)}`, () => {
      expect(Endpoint.parse(address)).toEqual(Option.none())
    })
  }
})
