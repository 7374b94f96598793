import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import { Transport } from "effect-wsmux/Transport"
import type { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { createHash } from "node:crypto"
import * as Http from "node:http"
import { WebSocket } from "ws"
import { bytes, text } from "../../support/bytes.js"
import {
  listening,
  portOf,
  signal,
  silentServer,
  taking,
  tcpServer,
  webSocketServer
} from "../../support/transports.js"
import { listen } from "../../support/transportSuite.js"

const failureOf = (url: string) => Effect.flip(Effect.scoped(NodeTransport.connect(url)))

/** Starts a TCP server that gives this answer to its first bytes. The effect succeeds with its URL. */
const makeAnswering = (answer: string) =>
  Effect.map(
    tcpServer((socket) => socket.once("data", () => socket.write(answer))),
    ({ port }) => `ws://127.0.0.1:${port}/`
  )

/** Changes the answers that a WebSocket of `ws` for the URL tells of, or hides them, until the scope closes. */
const changeAnswers = (url: string, change: object | undefined) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { emit } = WebSocket.prototype
      WebSocket.prototype.emit = function(this: WebSocket, event: string | symbol, ...args: Array<unknown>): boolean {
        if (event !== "upgrade" || !this.url.startsWith(url)) return emit.call(this, event, ...args)
        if (change === undefined) return false
        const { headers } = args[0] as Http.IncomingMessage
        return emit.call(this, event, { headers, ...change })
      }
      return emit
    }),
    (emit) =>
      Effect.sync(() => {
        WebSocket.prototype.emit = emit
      })
  )

describe("NodeTransport.connect", () => {
  for (const url of ["", "no address", "ftp://127.0.0.1", "http://127.0.0.1", "ws://127.0.0.1/#fragment", "ws://"]) {
    it.effect(`NodeTransport.connect fails at once when the address is ${JSON.stringify(url)}`, () =>
      Effect.gen(function*() {
        const failure = yield* failureOf(url)
        expect(failure).toMatchObject({ _tag: "ConnectFailure", url, reason: "InvalidUrl" })
        expect(failure.cause).toBeInstanceOf(Error)
        expect(failure.message).toBe(`cannot connect to ${url}: not a ws:// or wss:// address`)
      }))
  }

  it.live("NodeTransport.connect fails as unreachable when no server listens", () =>
    Effect.gen(function*() {
      const { port } = yield* Effect.scoped(tcpServer(() => {}))
      const url = `ws://127.0.0.1:${port}`
      const failure = yield* failureOf(url)
      expect(failure).toMatchObject({
        _tag: "ConnectFailure",
        url,
        reason: "Unreachable",
        cause: { code: "ECONNREFUSED" }
      })
      expect(failure.message).toBe(`cannot connect to ${url}: connect ECONNREFUSED 127.0.0.1:${port}`)
    }))

  for (const [what, change] of [["shows no socket", { socket: null }], ["is not told", undefined]] as const) {
    it.scopedLive(`NodeTransport.connect carries messages when the answer to the upgrade ${what}`, () =>
      Effect.gen(function*() {
        const { url, webSockets } = yield* webSocketServer
        webSockets.on("connection", (ws) => ws.on("message", (data) => ws.send(data)))
        yield* changeAnswers(url, change)
        const transport = yield* NodeTransport.connect(url)
        const events = yield* listen(transport)
        transport.send([bytes("hello")])
        expect(text(yield* events.next)).toBe("hello")
        expect(transport.upgrade?.headers.upgrade).toBe(change && "websocket")
        expect(transport.remoteAddress).toMatchObject({ _tag: "TcpAddress", hostname: "127.0.0.1" })
      }))
  }

  it.scopedLive("NodeTransport.connect tells that a server does not speak TLS when the address is wss", () =>
    Effect.gen(function*() {
      const plain = yield* listening(Http.createServer())
      const greeting = yield* tcpServer((socket) => socket.write("220 mail.example ESMTP\r\n"))
      for (const port of [portOf(plain), greeting.port]) {
        const url = `wss://127.0.0.1:${port}/`
        const failure = yield* failureOf(url)
        expect(failure).toMatchObject({ reason: "Unreachable", cause: expect.any(Error) })
        expect(failure.message).toBe(`cannot connect to ${url}: the server does not speak TLS; try ws://`)
      }
    }))

  it.live("NodeTransport.connect fails as unreachable when the system refuses at once", () =>
    Effect.gen(function*() {
      const url = "ws://255.255.255.255:9/" // The system refuses to dial a broadcast address.
      const fails = failureOf(url)
      // In an event of Node, the failure precedes the child fibers of the dial.
      const fromEvent = Effect.async<ConnectFailure, Transport>((resume) => {
        setImmediate(() => Effect.runCallback(fails, { onExit: resume }))
      })
      for (const failure of [yield* fails, yield* fromEvent]) {
        expect(failure).toMatchObject({ _tag: "ConnectFailure", reason: "Unreachable", cause: { syscall: "connect" } })
      }
    }))

  it.scopedLive("NodeTransport.connect names the cause when every address of a name is unreachable", () =>
    Effect.gen(function*() {
      // a port that was just given up may belong to another suite by now
      const failure = yield* failureOf("ws://localhost:1")
      expect(failure.reason).toBe("Unreachable")
      expect(failure.message).toContain("ECONNREFUSED")
    }))

  it.scopedLive("NodeTransport.connect fails as unreachable when the server hangs up", () =>
    Effect.gen(function*() {
      const { port } = yield* tcpServer((socket) => socket.destroy())
      expect(yield* failureOf(`ws://127.0.0.1:${port}`)).toMatchObject({ reason: "Unreachable" })
    }))

  for (const status of [200, 301, 401, 403, 404, 500, 503]) {
    it.scopedLive(`NodeTransport.connect fails as rejected with the status when the server answers ${status}`, () =>
      Effect.gen(function*() {
        const server = yield* listening(Http.createServer((_, response) => {
          response.writeHead(status, { location: "/elsewhere" }).end("no")
        }))
        server.on("upgrade", (_, socket) => socket.end(`HTTP/1.1 ${status} No\r\nlocation: /elsewhere\r\n\r\n`))
        const url = `ws://127.0.0.1:${portOf(server)}/`
        const failure = yield* failureOf(url)
        expect(failure).toMatchObject({ _tag: "ConnectFailure", url, reason: "Rejected", status })
        expect(failure.message).toBe(`cannot connect to ${url}: the server answered ${status}`)
      }))
  }

  const inAnHour = new Date(Date.now() + 3_600_000).toUTCString()
  const waits: ReadonlyArray<readonly [what: string, headers: string, millis: number | undefined]> = [
    ["seconds", "retry-after: 120\r\n", 120_000],
    [
      "a date by the server's clock",
      "date: Sat, 01 Jan 2000 00:00:00 GMT\r\nretry-after: Sat, 01 Jan 2000 00:01:00 GMT\r\n",
      60_000
    ],
    ["a date in the past", "retry-after: Sat, 01 Jan 2000 00:01:00 GMT\r\n", 0],
    ["unreadable", "retry-after: soon\r\n", undefined],
    ["missing", "", undefined]
  ]
  for (const [what, headers, millis] of waits) {
    it.scopedLive(`NodeTransport.connect reads retry-after when its value is ${what}`, () =>
      Effect.gen(function*() {
        const url = yield* makeAnswering(`HTTP/1.1 503 Service Unavailable\r\n${headers}content-length: 0\r\n\r\n`)
        expect((yield* failureOf(url)).retryAfterMillis).toBe(millis)
      }))
  }

  it.scopedLive("NodeTransport.connect reads a retry-after date when the answer has no date header", () =>
    Effect.gen(function*() {
      const url = yield* makeAnswering(`HTTP/1.1 503 No\r\nretry-after: ${inAnHour}\r\ncontent-length: 0\r\n\r\n`)
      const { retryAfterMillis } = yield* failureOf(url)
      expect(retryAfterMillis).toBeGreaterThan(3_300_000)
      expect(retryAfterMillis).toBeLessThanOrEqual(3_600_000)
    }))

  it.scopedLive("NodeTransport.connect fails as unreachable when the answer is no valid handshake", () =>
    Effect.gen(function*() {
      const wrongKey = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
        "sec-websocket-accept: wrong\r\n\r\n"
      for (const answer of ["220 mail.example ESMTP\r\n", wrongKey]) {
        const failure = yield* Effect.flatMap(makeAnswering(answer), failureOf)
        expect(failure).toMatchObject({ reason: "Unreachable", cause: expect.any(Error) })
      }
    }))

  for (const [openTimeout, millis] of [[undefined, 10_000], ["3 seconds", 3000]] as const) {
    it.scoped(`NodeTransport.connect fails and closes TCP when no answer comes within ${millis} ms`, () =>
      Effect.gen(function*() {
        const { taken, url } = yield* silentServer
        const dialling = yield* Effect.fork(Effect.flip(NodeTransport.connect(url, { openTimeout })))
        const { closed } = yield* taken
        yield* TestClock.adjust(millis - 1)
        expect(dialling.unsafePoll()).toBe(null)
        yield* TestClock.adjust(1)
        const failure: ConnectFailure = yield* Fiber.join(dialling)
        expect({ ...failure }).toMatchObject({ url, reason: "Timeout" })
        expect(failure.message).toBe(`cannot connect to ${url}: no answer in time`)
        yield* closed
      }))
  }

  it.scopedLive("NodeTransport.connect closes TCP before its scope closes when the dial is interrupted", () =>
    Effect.gen(function*() {
      const { taken, url } = yield* silentServer
      const dialling = yield* Effect.fork(NodeTransport.connect(url))
      const { closed } = yield* taken
      yield* Fiber.interrupt(dialling)
      yield* closed
    }))

  it.scopedLive("NodeTransport.connect closes TCP before its scope closes when the server rejects the dial", () =>
    Effect.gen(function*() {
      const { server, taken } = yield* taking((socket) =>
        socket.once("data", () => socket.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\n\r\n"))
      )
      const failure = yield* Effect.flip(NodeTransport.connect(`ws://127.0.0.1:${server.port}/`))
      expect(failure).toMatchObject({ reason: "Rejected", status: 403 })
      const { closed } = yield* taken
      yield* closed
    }))

  it.scopedLive("NodeTransport.connect sends headers and subprotocols, but no compression, when it dials", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const connected = signal<[WebSocket, Http.IncomingMessage]>(webSockets, "connection")
      yield* NodeTransport.connect(`${url}/path?query`, {
        headers: { authorization: "Bearer secret", "x-extra": "1" },
        protocols: ["one", "two"]
      })
      const [ws, request] = yield* connected
      expect(request.url).toBe("/path?query")
      expect(request.headers).toMatchObject({
        "authorization": "Bearer secret",
        "x-extra": "1",
        "sec-websocket-protocol": "one,two"
      })
      expect(request.headers["sec-websocket-extensions"]).toBe(undefined)
      expect(ws.extensions).toBe("")
    }))

  it.scopedLive("NodeTransport receives a message and a close frame when they come with the answer", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      webSockets.on("connection", (ws) => {
        ws.send(Buffer.from("at once"))
        ws.close(4321, "enough")
      })
      const transport = yield* NodeTransport.connect(url)
      const events = yield* listen(transport)
      expect(yield* events.ended).toEqual({ code: 4321, reason: "enough" })
      expect(text(yield* events.next)).toBe("at once")
      expect(transport.remoteAddress).toMatchObject({ _tag: "TcpAddress", hostname: "127.0.0.1" })
    }))

  it.scopedLive("NodeTransport ends when a close frame comes with the answer and TCP stays open", () =>
    Effect.gen(function*() {
      const http = yield* listening(Http.createServer())
      http.on("upgrade", ({ headers }, socket) => {
        socket.on("error", () => {})
        const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
        const accept = `sec-websocket-accept: ${createHash("sha1").update(key).digest("base64")}`
        const answer = ["HTTP/1.1 101", "connection: upgrade", "upgrade: websocket", accept, "", ""].join("\r\n")
        socket.write(Buffer.concat([bytes(answer), Buffer.from([0x88, 2, 0x03, 0xf0])]))
      })
      const transport = yield* NodeTransport.connect(`ws://127.0.0.1:${portOf(http)}`)
      const events = yield* listen(transport)
      expect(yield* events.ended).toEqual({ code: 1008, reason: "" })
      yield* transport.close(1000, "", "20 millis")
    }))

  it.scopedLive("NodeTransport.layer closes the WebSocket when its scope closes", () =>
    Effect.gen(function*() {
      const { url, webSockets } = yield* webSocketServer
      const connected = signal<[WebSocket]>(webSockets, "connection")
      const program = Effect.gen(function*() {
        const transport = yield* Transport
        const [ws] = yield* connected
        const message = signal<[Buffer]>(ws, "message")
        transport.send([bytes("hello")])
        expect((yield* message)[0].toString()).toBe("hello")
        return ws
      })
      const ws = yield* Effect.provide(program, NodeTransport.layer(url))
      if (ws.readyState !== WebSocket.CLOSED) yield* signal(ws, "close")
    }))
})
