import { describe, expect, it } from "@effect/vitest"
import { WebSocket } from "ws"
import { extrasOf } from "../../../../src/internal/transport/webSocketExtras.js"

const members = { on: () => {}, ping: () => {}, pong: () => {}, terminate: () => {} }

describe("extrasOf", () => {
  it("extrasOf returns a WebSocket of the package ws itself", () => {
    const ws = Object.create(WebSocket.prototype) as WebSocket
    expect(extrasOf(ws)).toBe(ws)
  })

  it("extrasOf returns undefined when a member is missing or no function", () => {
    for (const name of Object.keys(members)) {
      expect(extrasOf({ ...members, [name]: undefined })).toBe(undefined)
      expect(extrasOf({ ...members, [name]: "a text" })).toBe(undefined)
    }
    expect(extrasOf(members)).toBe(members)
  })

  it("extrasOf returns undefined when the value is a standard WebSocket or none", () => {
    for (const value of [new EventTarget(), undefined, null, "socket", 1]) expect(extrasOf(value)).toBe(undefined)
  })
})
