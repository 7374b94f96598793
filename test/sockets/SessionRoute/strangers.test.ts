import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as SessionRoute from "effect-wsmux/SessionRoute"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { bytes } from "../../support/bytes.js"
import { quietly } from "../../support/observe.js"
import { makeSessions } from "../../support/sessions.js"
import { eventually, listening, portOf, rawClient, signal } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
const [cert, key] = [fixture("cert.pem"), fixture("key.pem")]

/** The uncaught errors of the process while the scope is open. The runner counts these errors as failures, too. */
const uncaught = Effect.gen(function*() {
  const errors: Array<unknown> = []
  const collect = (error: unknown) => void errors.push(error)
  process.on("uncaughtExceptionMonitor", collect)
  yield* Effect.addFinalizer(() => Effect.sync(() => process.off("uncaughtExceptionMonitor", collect)))
  return errors
})

/** A server of one session route, with the sockets of its clients. */
const serving = <E>(options: SessionRoute.Options<never>, handler: Effect.Effect<unknown, E> = Effect.never) =>
  Effect.gen(function*() {
    const sockets: Array<Net.Socket> = []
    const http = Http.createServer().on("connection", (socket) => sockets.push(socket))
    yield* Layer.build(
      HttpServer.serve(SessionRoute.make(() => handler, options)).pipe(
        Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
      )
    )
    // Without this, the server waits for the open connections.
    yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
    return { sockets, url: `ws://127.0.0.1:${portOf(http)}/` }
  })

const refuse = Effect.fail(HttpServerResponse.empty({ status: 401 }))

describe("SessionRoute.make", () => {
  it.scopedLive("SessionRoute.make keeps the process alive when a client resets before the answer", () =>
    Effect.gen(function*() {
      const errors = yield* uncaught
      const asked = yield* Deferred.make<void>()
      const decision = yield* Deferred.make<void>()
      const { sockets, url } = yield* serving({
        authorize: () =>
          Deferred.succeed(asked, undefined).pipe(Effect.zipRight(Deferred.await(decision)), Effect.zipRight(refuse))
      })
      const { closed, socket } = yield* rawClient(url)
      yield* Deferred.await(asked).pipe(within(patience, "the request"))
      socket.resetAndDestroy()
      yield* closed
      yield* Deferred.succeed(decision, undefined)
      yield* eventually(() => sockets.length === 1 && sockets.every((socket) => socket.closed))
      expect(errors).toEqual([])
    }))

  it.scopedLive("SessionRoute.make closes the connection when a refused client stays", () =>
    Effect.gen(function*() {
      for (const options of [{ authorize: () => refuse }, { settings: { streamBufferSize: -1 } }]) {
        const { sockets, url } = yield* serving(options)
        const { answer, socket } = yield* rawClient(url)
        socket.allowHalfOpen = true
        expect(yield* answer).toMatch(/^HTTP\/1.1 (401|500) /)
        yield* eventually(() => sockets.length === 1 && sockets.every(({ destroyed }) => destroyed))
      }
    }))

  it.scopedLive("SessionRoute.make answers 400 and releases the connection when a handshake is malformed", () =>
    Effect.gen(function*() {
      let sessions = 0
      const { sockets, url } = yield* serving({}, Effect.sync(() => sessions++))
      const upgrade = ["connection: upgrade", "upgrade: websocket"]
      const version = "sec-websocket-version: 13"
      const key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
      const requests = [
        [...upgrade, version],
        [...upgrade, version, "sec-websocket-key: short"],
        [...upgrade, key],
        [...upgrade, "sec-websocket-version: 99", key],
        [...upgrade, version, key, "sec-websocket-protocol: a, a"],
        [...upgrade, version, key, "sec-websocket-protocol: a,,b"],
        [...upgrade, version, key, "sec-websocket-protocol: \"a\""],
        [...upgrade, version, key, "sec-websocket-protocol: "]
      ]
      for (const headers of requests) {
        const { answer, closed } = yield* rawClient(url, headers)
        expect(yield* answer).toBe("HTTP/1.1 400 Bad Request")
        yield* closed
      }
      const other = yield* rawClient(url, ["connection: upgrade", "upgrade: h2c"])
      expect(yield* other.answer).toBe("HTTP/1.1 426 Upgrade Required")
      yield* eventually(() => sockets.length === requests.length + 1 && sockets.every(({ destroyed }) => destroyed))
      const proper = yield* rawClient(url, [...upgrade, version, key, "sec-websocket-protocol: a, b.c"])
      expect(yield* proper.answer).toBe("HTTP/1.1 101 Switching Protocols")
      yield* eventually(() => sessions === 1)
    }))
})

describe("SessionRoute.guard", () => {
  for (
    const [protocol, create] of [["http", Http.createServer], [
      "https",
      () => Https.createServer({ cert, key })
    ]] as const
  ) {
    it.scopedLive(`SessionRoute.guard keeps the process alive when a pending upgrade fails over ${protocol}`, () =>
      Effect.gen(function*() {
        const errors = yield* uncaught
        const server = yield* listening<Http.Server>(SessionRoute.guard(create()))
        const left = signal<[Http.IncomingMessage, Net.Socket]>(server, "upgrade")
        const options = { port: portOf(server), host: "127.0.0.1", rejectUnauthorized: false }
        const client = protocol === "http" ? Net.connect(options) : Tls.connect(options)
        client.on("error", () => {}).write("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        const [, socket] = yield* left
        const closed = signal(socket, "close")
        socket.destroy(new Error("as a reset does"))
        yield* closed
        client.destroy()
        expect(errors).toEqual([])
      }))
  }

  it.scopedLive("SessionRoute.guard keeps the other routes when it guards a platform server", () =>
    Effect.gen(function*() {
      const http = SessionRoute.guard(Http.createServer())
      yield* Layer.build(
        HttpServer.serve(HttpServerResponse.text("hello")).pipe(
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
        )
      )
      const answer = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${portOf(http)}/`, { headers: { connection: "close" } })
      )
      expect(yield* Effect.promise(() => answer.text())).toBe("hello")
    }))
})

describe("SessionRoute.make", () => {
  it.scopedLive("SessionRoute.make keeps the process alive when the session under an upgrade is lost", () =>
    Effect.gen(function*() {
      const errors = yield* uncaught
      const { client, pair, server } = yield* makeSessions(quietly())
      const asked = yield* Deferred.make<void>()
      const closed = Deferred.unsafeMake<void>(FiberId.none)
      const http = Http.createServer().on("upgrade", (_request, socket) => {
        socket.once("close", () => Deferred.unsafeDone(closed, Effect.void))
        Deferred.unsafeDone(asked, Effect.void)
      })
      yield* Effect.fork(NodeDuplex.serve(server, http))
      const stream = yield* client.open()
      yield* stream.write(bytes("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"))
      yield* Deferred.await(asked).pipe(within(patience, "the request"))
      yield* pair.cut
      yield* Deferred.await(closed).pipe(within(patience, "the close of the socket"))
      expect(errors).toEqual([])
    }))
})
