import { describe, expect, it } from "@effect/vitest"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import * as Effect from "effect/Effect"
import type * as Http from "node:http"
import type { WebSocket } from "ws"
import { dialStandard, dialWsConstructor, signal, webSocketServer, wired } from "../../../support/transports.js"
import { listen, transportSuite } from "../../../support/transportSuite.js"

transportSuite("a WebSocket made by the package ws", wired["a WebSocket made by the package ws"]!)
transportSuite("a standard WebSocket", wired["a standard WebSocket"]!, { script: true, addresses: false })

const makePeer = Effect.gen(function*() {
  const { url, webSockets } = yield* webSocketServer
  const connected = signal<[WebSocket, Http.IncomingMessage]>(webSockets, "connection")
  return { url, connected }
})

for (const [name, dial] of [["the package ws", dialWsConstructor], ["a standard WebSocket", dialStandard]] as const) {
  describe(`WebSocketTransport over ${name}`, () => {
    it.scopedLive("WebSocketTransport reports text by onText when text and binary messages come", () =>
      Effect.gen(function*() {
        const { connected, url } = yield* makePeer
        const events = yield* listen(yield* dial(url))
        const [peer] = yield* connected
        peer.send("text")
        peer.send(Buffer.from("binary"))
        expect(Buffer.from(yield* events.next).toString()).toBe("binary")
        expect(events.told).toEqual(["text", "message"])
      }))

    it.scopedLive("WebSocketTransport ends with code 1006 once when TCP is lost", () =>
      Effect.gen(function*() {
        const { connected, url } = yield* makePeer
        const transport = yield* dial(url)
        const events = yield* listen(transport)
        const [peer, request] = yield* connected
        peer.send(Buffer.from("hello"))
        yield* events.next
        request.socket.destroy()
        expect((yield* events.ended).code).toBe(1006)
        yield* transport.close(1000, "", 0)
        expect(events.told).toEqual(["message", "close"])
      }))
  })
}

describe("StandardTransport", () => {
  it.scopedLive("WebSocketTransport has no ping and the dialled address when its WebSocket is standard", () =>
    Effect.gen(function*() {
      const { url } = yield* makePeer
      const transport = yield* dialStandard(url)
      expect(transport.ping).toBe(undefined)
      expect([transport.localAddress, transport.remoteAddress]).toEqual([
        { _tag: "OpaqueAddress", name: "browser" },
        { _tag: "OpaqueAddress", name: `${url}/` }
      ])
    }))

  it.scopedLive("WebSocketTransport.close closes TCP when the peer does not answer a close in time", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const transport = yield* dialStandard(url)
      const [peer, request] = yield* connected
      const closed = signal(request.socket, "close")
      const parser = (peer as unknown as { readonly _receiver: { readonly removeAllListeners: () => void } })._receiver
      parser.removeAllListeners() // The peer ignores the close frame.
      yield* transport.close(1000, "", "20 millis")
      yield* closed.pipe(
        Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error("TCP is still open after 10 s") })
      )
    }))

  it.scopedLive("WebSocketTransport caps maxMessageSize when Node's WebSocket has a smaller limit", () =>
    Effect.gen(function*() {
      const { url } = yield* makePeer
      const limit = 128 * 1024 * 1024
      const transport = yield* dialStandard(url, { maxMessageSize: 2 * limit })
      expect(transport.maxMessageSize).toBe(limit)
      const failure = yield* Session.makeClient({ maxPeerWindow: limit }).pipe(
        Effect.provideService(Transport, transport),
        Effect.flip
      )
      expect(failure.message).toContain(`the transport lets in messages of ${limit} bytes`)
    }))

  it.scopedLive("WebSocketTransport.fromWebSocket sends when a socket has no URL and no bufferedAmount", () =>
    Effect.gen(function*() {
      for (const url of [null, undefined]) {
        const events = new EventTarget()
        const sent: Array<unknown> = []
        const ws = Object.assign(events, {
          url,
          readyState: 1,
          send: (data: unknown) => sent.push(data),
          close: () => {}
        })
        const transport = yield* WebSocketTransport.fromWebSocket(ws as unknown as globalThis.WebSocket)
        expect(transport.remoteAddress).toEqual({ _tag: "OpaqueAddress", name: "socket" })
        expect(transport.pollWritable()).toBe(true)
        transport.send([Uint8Array.of(1)])
        expect(sent).toHaveLength(1)
      }
    }))
})
