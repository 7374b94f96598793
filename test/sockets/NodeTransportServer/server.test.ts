import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { type Service, TransportServer } from "effect-wsmux/TransportServer"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import { readFileSync } from "node:fs"
import type * as Http from "node:http"
import * as Net from "node:net"
import { text } from "../../support/bytes.js"
import {
  detachable,
  firstOf,
  keepAll,
  rawClient,
  rejected,
  signal,
  tcpServer,
  urlOf,
  webSocket
} from "../../support/transports.js"
import { listen } from "../../support/transportSuite.js"
import { patience, within } from "../../support/within.js"

const portOfServer = (server: Service): number => Number(new URL(urlOf(server)).port)

describe("NodeTransportServer.make", () => {
  it.scopedLive("NodeTransportServer.make frees its loopback port when its scope closes", () =>
    Effect.gen(function*() {
      const [server, leave] = yield* detachable(NodeTransportServer.make())
      expect(server.address).toMatchObject({ _tag: "TcpAddress", hostname: "127.0.0.1", port: expect.any(Number) })
      const url = urlOf(server)
      const accepted = yield* firstOf(server)
      const events = yield* listen(yield* NodeTransport.connect(url))
      yield* accepted
      yield* leave
      expect((yield* events.ended).code).toBe(1006)
      expect(server.address).toEqual({ _tag: "OpaqueAddress", name: "not listening" })
      const again = yield* NodeTransportServer.make({ port: Number(new URL(url).port) })
      expect(urlOf(again)).toBe(url)
    }))

  it.scopedLive("NodeTransportServer accepts later connections when accepting one has failed", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({
        authorize: ({ socket }) =>
          Effect.sync(() => (socket as { server?: Net.Server }).server!.emit("error", new Error("accept EMFILE")))
      })
      yield* keepAll(server)
      yield* NodeTransport.connect(urlOf(server))
      yield* NodeTransport.connect(urlOf(server))
    }))

  for (const upgradeTimeout of [Duration.infinity, Duration.minutes(10), Duration.nanos(1_500_500_000n)]) {
    it.scopedLive(`NodeTransportServer accepts a dial when upgradeTimeout is ${Duration.format(upgradeTimeout)}`, () =>
      Effect.gen(function*() {
        const server = yield* NodeTransportServer.make({ upgradeTimeout, authorize: () => Effect.void })
        yield* keepAll(server)
        yield* NodeTransport.connect(urlOf(server))
      }))
  }

  it.scopedLive("NodeTransportServer.make fails with the address when its port is taken", () =>
    Effect.gen(function*() {
      const { port } = yield* tcpServer(() => {})
      const failure = yield* Effect.flip(NodeTransportServer.make({ port }))
      expect(failure).toMatchObject({
        _tag: "ListenFailure",
        address: `127.0.0.1:${port}`,
        cause: { code: "EADDRINUSE" }
      })
      expect(failure.message).toBe(
        `cannot listen on 127.0.0.1:${port}: listen EADDRINUSE: address already in use 127.0.0.1:${port}`
      )
    }))

  it.scopedLive("NodeTransportServer.make fails when its host is foreign or its certificate is malformed", () =>
    Effect.gen(function*() {
      for (const options of [{ host: "192.0.2.1" }, { tls: { key: "no key", cert: "no certificate" } }]) {
        const failure = yield* Effect.flip(NodeTransportServer.make(options))
        expect(failure).toMatchObject({ _tag: "ListenFailure", cause: expect.any(Error) })
      }
    }))

  it.scopedLive("NodeTransportServer.make fails with the address when Node refuses its port", () =>
    Effect.gen(function*() {
      for (const port of [-1, 65_536, 0.5, NaN]) {
        const failure = yield* Effect.flip(NodeTransportServer.make({ port }))
        expect(failure).toMatchObject({
          _tag: "ListenFailure",
          address: `127.0.0.1:${port}`,
          cause: { code: "ERR_SOCKET_BAD_PORT" }
        })
      }
    }))

  it.scopedLive("NodeTransportServer answers 404 when a client dials another path", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ path: "/session" })
      const { next } = yield* keepAll(server)
      yield* NodeTransport.connect(`${urlOf(server)}/session?token=1`)
      yield* next
      for (const path of ["/", "/session/", "/other", "/SESSION"]) {
        const url = `${urlOf(server)}${path}`
        expect(yield* Effect.flip(NodeTransport.connect(url))).toEqual(rejected(url, 404))
      }
    }))

  it.scopedLive("NodeTransportServer negotiates no compression when the client offers it", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      yield* keepAll(server)
      const ws = yield* webSocket(urlOf(server), [], { perMessageDeflate: true })
      const upgraded = signal<[Http.IncomingMessage]>(ws, "upgrade")
      yield* signal(ws, "open")
      const [response] = yield* upgraded
      expect([response.headers["sec-websocket-extensions"], ws.extensions]).toEqual([undefined, ""])
    }))

  it.scopedLive("NodeTransportServer answers 426 when a request asks for no upgrade", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const response = yield* Effect.promise(() => fetch(urlOf(server).replace("ws:", "http:")))
      expect([response.status, response.headers.get("upgrade")]).toEqual([426, "websocket"])
      expect(yield* Effect.promise(() => response.text())).toBe("this is a WebSocket server\n")
    }))

  it.scopedLive("NodeTransportServer answers 400 and accepts later clients when an upgrade is malformed", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const { next } = yield* keepAll(server)
      const url = urlOf(server)
      const upgrade = ["connection: upgrade", "upgrade: websocket"]
      const answers: Array<string | undefined> = []
      const requests = [
        upgrade,
        [...upgrade, "sec-websocket-version: 13", "sec-websocket-key: short"],
        [...upgrade, "sec-websocket-version: 99", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="],
        ["connection: upgrade", "upgrade: h2c"],
        ["no header"]
      ]
      for (const headers of requests) {
        const { answer, closed } = yield* rawClient(url, headers)
        answers.push(yield* answer)
        yield* closed
      }
      const bad = "HTTP/1.1 400 Bad Request"
      expect(answers).toEqual([bad, bad, bad, bad, bad])
      const { socket } = yield* rawClient(url)
      socket.resetAndDestroy()
      yield* NodeTransport.connect(url)
      yield* next
    }))

  it.scopedLive("NodeTransportServer.layer provides a listening server when its options are empty", () =>
    Effect.gen(function*() {
      const accepted = yield* firstOf(yield* TransportServer)
      yield* NodeTransport.connect(urlOf(yield* TransportServer))
      yield* accepted
    }).pipe(Effect.provide(NodeTransportServer.layer())))
})

describe("NodeTransportServer.run", () => {
  it.scopedLive("NodeTransportServer.run serves connections and their messages when they came before it", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const dialling = yield* Effect.replicateEffect(Effect.fork(NodeTransport.connect(urlOf(server))), 3)
      const { next } = yield* keepAll(server)
      for (const dial of dialling) (yield* Fiber.join(dial)).send([Buffer.from("hello")])
      for (const _ of dialling) {
        const events = yield* listen(yield* next)
        expect(text(yield* events.next)).toBe("hello")
      }
    }))

  it.scopedLive("NodeTransportServer.run ends its connections and can run again when it is interrupted", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const { next, running } = yield* keepAll(server)
      const clients = [yield* NodeTransport.connect(urlOf(server)), yield* NodeTransport.connect(urlOf(server))]
      const events = yield* Effect.forEach(clients, listen)
      yield* next
      yield* next
      yield* Fiber.interrupt(running)
      for (const { ended } of events) expect((yield* ended).code).toBe(1006)
      const later = yield* Effect.fork(NodeTransport.connect(urlOf(server)))
      const again = yield* keepAll(server)
      yield* again.next
      yield* Fiber.join(later)
    }))

  it.scopedLive("NodeTransportServer.run ends one connection and its scope when that handler ends", () =>
    Effect.gen(function*() {
      const outcomes: ReadonlyArray<Effect.Effect<unknown, string>> = [
        Effect.void,
        Effect.fail("failure"),
        Effect.die("defect"),
        Effect.never
      ]
      const order = yield* Queue.unbounded<Effect.Effect<unknown, string>>()
      yield* Queue.offerAll(order, outcomes)
      const server = yield* NodeTransportServer.make()
      let released = 0
      yield* Effect.forkScoped(server.run((transport) =>
        Effect.gen(function*() {
          const outcome = yield* Queue.take(order)
          yield* Effect.addFinalizer(() => Effect.sync(() => released++))
          yield* (yield* listen(transport)).next
          return yield* outcome
        })
      ))
      const ends: Array<readonly [ReadonlyArray<string>, boolean]> = []
      for (const outcome of outcomes) {
        const client = yield* NodeTransport.connect(urlOf(server))
        const events = yield* listen(client)
        client.send([Buffer.from("go")])
        if (outcome !== Effect.never) yield* events.ended
        ends.push([events.told, client.pollWritable()])
      }
      expect(ends).toEqual([[["close"], false], [["close"], false], [["close"], false], [[], true]])
      expect(released).toBe(3)
    }))

  it.scopedLive("NodeTransportServer.run provides its handlers with services when the caller provides them", () =>
    Effect.gen(function*() {
      const Name = Context.GenericTag<string>("Name")
      const named = yield* Deferred.make<string>()
      const server = yield* NodeTransportServer.make()
      yield* server.run(() => Effect.intoDeferred(Name, named)).pipe(
        Effect.provideService(Name, "echo"),
        Effect.forkScoped
      )
      yield* NodeTransport.connect(urlOf(server))
      expect(yield* Deferred.await(named).pipe(within(patience, "the name in the handler"))).toBe("echo")
    }))

  it.scopedLive("NodeTransportServer closes the connections of waiting clients when its scope closes", () =>
    Effect.gen(function*() {
      for (const outcome of [Effect.void, Effect.never]) {
        const asked = yield* Deferred.make<void>()
        const [server, leave] = yield* detachable(
          NodeTransportServer.make({ authorize: () => Effect.zipRight(Deferred.succeed(asked, undefined), outcome) })
        )
        const { closed } = yield* rawClient(urlOf(server))
        yield* Deferred.await(asked).pipe(within(patience, "the authorisation"))
        yield* leave
        yield* closed
      }
    }))

  it.scopedLive("NodeTransportServer answers 503 when 128 clients wait for it to run", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const clients = yield* Effect.replicateEffect(rawClient(urlOf(server)), 129)
      expect(yield* Effect.raceAll(clients.map(({ answer }) => answer))).toBe("HTTP/1.1 503 Service Unavailable")
      yield* keepAll(server)
      const answers = yield* Effect.all(clients.map(({ answer }) => answer))
      expect(answers.filter((answer) => answer === "HTTP/1.1 101 Switching Protocols").length).toBe(128)
    }))

  it.scopedLive("NodeTransportServer closes silent connections, with and without TLS, when its scope closes", () =>
    Effect.gen(function*() {
      const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
      for (const tls of [undefined, { cert: fixture("cert.pem"), key: fixture("key.pem") }]) {
        const [server, leave] = yield* detachable(NodeTransportServer.make({ tls }))
        const stranger = Net.connect(portOfServer(server), "127.0.0.1")
        const closed = signal(stranger, "close")
        yield* signal(stranger, "connect")
        yield* leave
        yield* closed
      }
    }))

  it.scopedLive("SessionServer.make fails when its settings need larger messages than NodeTransportServer's", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      const error = yield* SessionServer.make({ streamBufferSize: 8 * 1024 * 1024 }).pipe(
        Effect.provideService(TransportServer, server),
        Effect.flip
      )
      expect(error.message).toBe(
        "invalid maxMessageSize: the transport lets in messages of 4194309 bytes; these settings need 8388613"
      )
    }))

  it.scopedLive("NodeTransportServer answers 503 until a connection ends when it has maxConnections", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ maxConnections: 2 })
      yield* Effect.fork(server.run((transport) => Effect.flatMap(listen(transport), ({ ended }) => ended)))
      const first = yield* rawClient(urlOf(server))
      const second = yield* rawClient(urlOf(server))
      expect(yield* Effect.all([first.answer, second.answer])).toEqual(
        ["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 101 Switching Protocols"]
      )
      expect(yield* (yield* rawClient(urlOf(server))).answer).toBe("HTTP/1.1 503 Service Unavailable")
      first.socket.destroy()
      yield* first.closed
      const next = Effect.flatMap(rawClient(urlOf(server)), ({ answer }) => answer)
      yield* Effect.repeat(next, { until: (answer) => answer === "HTTP/1.1 101 Switching Protocols" })
    }))

  it.scopedLive("NodeTransportServer answers 503 when the servers of the process share a full limit", () =>
    Effect.gen(function*() {
      const limits = yield* SharedLimits.SharedLimits
      const servers = [yield* NodeTransportServer.make(), yield* NodeTransportServer.make()]
      for (const server of servers) {
        yield* Effect.fork(server.run((transport) => Effect.flatMap(listen(transport), ({ ended }) => ended)))
      }
      const [one, other] = servers.map(urlOf) as [string, string]
      const first = yield* rawClient(one)
      expect(yield* first.answer).toBe("HTTP/1.1 101 Switching Protocols")
      expect(yield* (yield* rawClient(other)).answer).toBe("HTTP/1.1 503 Service Unavailable")
      first.socket.destroy()
      yield* first.closed
      const next = Effect.flatMap(rawClient(other), ({ answer }) => answer)
      yield* Effect.repeat(next, { until: (answer) => answer === "HTTP/1.1 101 Switching Protocols" })
      expect(limits.connections.used).toBe(1)
    }).pipe(Effect.provide(SharedLimits.layer({ maxConnections: 1 }))))
})
