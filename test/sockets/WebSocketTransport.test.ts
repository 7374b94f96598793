import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import type * as Http from "node:http"
import { WebSocket } from "ws"
import {
  detachable,
  dialStandard,
  dialWsConstructor,
  signal,
  silentServer,
  standardConstructor,
  tcpServer,
  webSocket,
  webSocketServer,
  wired
} from "../support/transports.js"
import { listen, transportSuite } from "../support/transportSuite.js"

transportSuite("a WebSocket made by the package ws", wired["a WebSocket made by the package ws"]!)
transportSuite("a standard WebSocket", wired["a standard WebSocket"]!, { script: true, addresses: false })

const makePeer = Effect.gen(function*() {
  const { url, webSockets } = yield* webSocketServer
  const connected = signal<[WebSocket, Http.IncomingMessage]>(webSockets, "connection")
  return { url, connected }
})

/** An address whose server has stopped. */
const refusing = Effect.scoped(Effect.map(tcpServer(() => {}), ({ port }) => `ws://127.0.0.1:${port}/`))

for (const [name, dial] of [["the package ws", dialWsConstructor], ["a standard WebSocket", dialStandard]] as const) {
  describe(`WebSocketTransport over ${name}`, () => {
    it.scopedLive("WebSocketTransport.connect fails as unreachable when no server listens", () =>
      Effect.gen(function*() {
        const url = yield* refusing
        const failure = yield* Effect.flip(dial(url))
        expect(failure).toMatchObject({ _tag: "ConnectFailure", url, reason: "Unreachable" })
        expect((failure as ConnectFailure).cause).toBeInstanceOf(Error)
      }))

    it.scopedLive("WebSocketTransport.connect fails with InvalidUrl when the constructor throws", () =>
      Effect.gen(function*() {
        const failure = yield* Effect.flip(dial("ftp://127.0.0.1"))
        expect(failure).toMatchObject({ _tag: "ConnectFailure", url: "ftp://127.0.0.1", reason: "InvalidUrl" })
      }))

    it.scoped("WebSocketTransport.connect fails and closes TCP when no answer comes within 10 s", () =>
      Effect.gen(function*() {
        const { taken, url } = yield* silentServer
        const dialling = yield* Effect.fork(Effect.flip(dial(url)))
        const { closed } = yield* taken
        yield* TestClock.adjust("9999 millis")
        expect(dialling.unsafePoll()).toBe(null)
        yield* TestClock.adjust("1 millis")
        expect(yield* Fiber.join(dialling)).toEqual(new ConnectFailure({ url, reason: "Timeout" }))
        yield* closed
      }))

    it.scopedLive("WebSocketTransport.connect closes TCP when the dial is interrupted", () =>
      Effect.gen(function*() {
        const { taken, url } = yield* silentServer
        const dialling = yield* Effect.fork(dial(url))
        const { closed } = yield* taken
        yield* Fiber.interrupt(dialling)
        yield* closed
      }))

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

describe("WebSocketTransport", () => {
  it.scopedLive("WebSocketTransport.connect offers subprotocols when its options have some", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      yield* WebSocketTransport.connect(url, { protocols: ["one", "two"] }).pipe(
        Effect.provideService(Socket.WebSocketConstructor, standardConstructor)
      )
      const [, request] = yield* connected
      expect(request.headers["sec-websocket-protocol"]).toBe("one, two")
    }))

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

  it.scopedLive("WebSocketTransport.layer closes the WebSocket when its scope closes", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      yield* Effect.provide(
        Effect.map(Transport, (transport) => expect(transport.pollWritable()).toBe(true)),
        Layer.provide(WebSocketTransport.layer(url), Layer.succeed(Socket.WebSocketConstructor, standardConstructor))
      )
      const [peer] = yield* connected
      if (peer.readyState !== WebSocket.CLOSED) yield* signal(peer, "close")
    }))

  for (const [name, open] of [["connecting", false], ["open", true]] as const) {
    it.scopedLive(`WebSocketTransport.fromWebSocket carries messages when the WebSocket is ${name}`, () =>
      Effect.gen(function*() {
        const { connected, url } = yield* makePeer
        const ws = standardConstructor(url)
        if (open) {
          yield* Effect.async<void>((resume) => {
            ws.addEventListener("open", () => resume(Effect.void))
          })
        }
        const [transport, leave] = yield* detachable(WebSocketTransport.fromWebSocket(ws))
        const events = yield* listen(transport)
        const [peer] = yield* connected
        peer.send(Buffer.from("hello"))
        expect(Buffer.from(yield* events.next).toString()).toBe("hello")
        const closed = signal(peer, "close")
        yield* leave
        yield* closed
      }))
  }

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

  it.scopedLive("WebSocketTransport.fromWebSocket fails as unreachable when the WebSocket is closed", () =>
    Effect.gen(function*() {
      const { connected, url } = yield* makePeer
      const ws = yield* webSocket(url)
      yield* connected
      const closed = signal(ws, "close")
      ws.terminate()
      yield* closed
      const standard = standardConstructor(url)
      yield* Effect.async<void>((resume) => {
        standard.addEventListener("close", () => resume(Effect.void))
        standard.addEventListener("open", () => standard.close())
      })
      for (const over of [standard, ws as unknown as globalThis.WebSocket]) {
        const failure = yield* Effect.flip(Effect.scoped(WebSocketTransport.fromWebSocket(over)))
        expect(failure).toMatchObject({ _tag: "ConnectFailure", reason: "Unreachable" })
        expect(failure.message).toContain("the socket is closed")
      }
    }))
})
