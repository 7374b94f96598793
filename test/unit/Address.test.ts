import { describe, expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"

describe("Address.redacted", () => {
  const shown = {
    "ws://relay.example": "ws://relay.example",
    "wss://relay.example:8443/streams/1": "wss://relay.example:8443/streams/1",
    "wss://secret@relay.example": "wss://***@relay.example",
    "wss://user:secret@relay.example/streams": "wss://***@relay.example/streams",
    "wss://user:se%40cret@relay.example/": "wss://***@relay.example/",
    "wss://user:sec@ret@relay.example/": "wss://***@relay.example/",
    "wss:user:secret@relay.example/": "wss:***@relay.example/",
    "wss://relay.example/?token=secret": "wss://relay.example/?***",
    "wss://relay.example?token=secret?&x=secret": "wss://relay.example?***",
    "wss://user:secret@relay.example/?token=secret@x": "wss://***@relay.example/?***",
    "wss://relay.example/@me?secret": "wss://relay.example/@me?***",
    "ws://relay.example/?secret#part": "ws://relay.example/?***#part",
    // not URLs
    "": "",
    "user:secret@relay.example": "user:***@relay.example",
    "ws://user:sec/ret@relay.example": "ws://***@relay.example",
    "ws://user:sec?ret@relay.example": "ws://***@relay.example",
    "ws://user:sec#ret@relay.example": "ws://***@relay.example",
    "ws://user:sec\nret@relay example/?token=sec\nret": "ws://***@relay example/?***"
  }
  for (const [url, expected] of Object.entries(shown)) {
    it(`Address.redacted returns ${JSON.stringify(expected)} for ${JSON.stringify(url)}`, () => {
      expect(Address.redacted(url)).toBe(expected)
      expect(Address.redacted(expected)).toBe(expected)
    })
  }
})
