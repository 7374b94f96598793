import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
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
  webSocketServer
} from "../support/transports.js"
import { listen } from "../support/transportSuite.js"

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
