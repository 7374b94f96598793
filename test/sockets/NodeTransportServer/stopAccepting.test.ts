import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Http from "node:http"
import * as Net from "node:net"
import { bytes, text } from "../../support/bytes.js"
import {
  detachable,
  eventually,
  keepAll,
  listening,
  portOf,
  signal,
  upgradeHeaders,
  urlOf
} from "../../support/transports.js"
import { listen } from "../../support/transportSuite.js"
import { patience, within } from "../../support/within.js"

const portOfUrl = (url: string) => Number(new URL(url).port)

const unavailable = (url: string) =>
  new ConnectFailure({ url, reason: "Rejected", status: 503, retryAfterMillis: 1000 })

/** A connection without a request, which the server has accepted. */
const silent = (url: string) =>
  Effect.gen(function*() {
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Net.connect(portOfUrl(url), "127.0.0.1").on("error", () => {})),
      (socket) => Effect.sync(() => socket.destroy())
    )
    const closed = yield* Effect.fork(signal(socket, "close"))
    yield* signal(socket, "connect")
    return { socket, closed: Fiber.join(closed) }
  })

describe("NodeTransportServer.stopAccepting", () => {
  it.scopedLive("NodeTransportServer gives up its port and keeps its connections when it stops accepting", () =>
    Effect.gen(function*() {
      const [server, close] = yield* detachable(NodeTransportServer.make())
      const url = urlOf(server)
      const { next } = yield* keepAll(server)
      const client = yield* NodeTransport.connect(url)
      const far = yield* listen(yield* next)
      yield* server.stopAccepting
      yield* server.stopAccepting
      const other = yield* NodeTransportServer.make({ port: portOfUrl(url) })
      const others = yield* keepAll(other)
      yield* NodeTransport.connect(url)
      yield* others.next
      client.send([bytes("still here")])
      expect(text(yield* far.next)).toBe("still here")
      expect(server.address).toEqual({ _tag: "OpaqueAddress", name: "not listening" })
      yield* close
      expect((yield* far.ended).code).toBe(1006)
    }))

  it.scopedLive("NodeTransportServer answers 503 with Retry-After when a connection asks after the stop", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make()
      yield* keepAll(server)
      const accepted = yield* Effect.all([silent(urlOf(server)), silent(urlOf(server))])
      yield* NodeTransport.connect(urlOf(server)) // the server has accepted the connections before this one
      yield* server.stopAccepting
      for (const { closed, socket } of accepted) {
        const answer = signal<[Buffer]>(socket, "data")
        socket.write(["GET / HTTP/1.1", "host: 127.0.0.1", ...upgradeHeaders, "", ""].join("\r\n"))
        const [head] = yield* answer
        expect(head.toString()).toMatch(/^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n/)
        yield* closed
      }
    }))

  it.scopedLive("NodeTransportServer answers 503 when it stops while an authorisation is under way", () =>
    Effect.gen(function*() {
      const [asked, answer] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const server = yield* NodeTransportServer.make({
        authorize: () => Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(answer))
      })
      const url = urlOf(server)
      yield* keepAll(server)
      const dial = yield* Effect.fork(Effect.flip(NodeTransport.connect(url)))
      yield* Deferred.await(asked).pipe(within(patience, "the authorisation"))
      yield* server.stopAccepting
      yield* Deferred.succeed(answer, undefined)
      expect(yield* Fiber.join(dial)).toEqual(unavailable(url))
    }))

  it.scopedLive("NodeTransportServer answers 503 when it stops while an upgrade waits for run", () =>
    Effect.gen(function*() {
      let requests = 0
      const server = yield* NodeTransportServer.make({ authorize: () => Effect.sync(() => requests++) })
      const url = urlOf(server)
      const dial = yield* Effect.fork(Effect.flip(NodeTransport.connect(url)))
      yield* eventually(() => requests === 1)
      yield* server.stopAccepting
      expect(yield* Fiber.join(dial)).toEqual(unavailable(url))
    }))

  it.scopedLive("NodeTransportServer answers 503 and leaves an attached server open when it stops accepting", () =>
    Effect.gen(function*() {
      const http = yield* listening(Http.createServer((_request, response) => response.end("an ordinary route")))
      const server = yield* NodeTransportServer.make({ server: http, path: "/streams" })
      const url = `ws://127.0.0.1:${portOf(http)}/streams`
      const { next } = yield* keepAll(server)
      const client = yield* NodeTransport.connect(url)
      const far = yield* listen(yield* next)
      yield* server.stopAccepting
      expect(yield* Effect.flip(NodeTransport.connect(url))).toEqual(unavailable(url))
      const answer = yield* Effect.promise(async () => (await fetch(`http://127.0.0.1:${portOf(http)}/`)).text())
      expect(answer).toBe("an ordinary route")
      client.send([bytes("still here")])
      expect(text(yield* far.next)).toBe("still here")
    }))

  it.scopedLive("NodeTransportServer ends silent connections after upgradeTimeout when it has stopped", () =>
    Effect.gen(function*() {
      const server = yield* NodeTransportServer.make({ upgradeTimeout: 100 })
      const url = urlOf(server)
      const { next } = yield* keepAll(server)
      const { closed } = yield* silent(url)
      const client = yield* NodeTransport.connect(url)
      const far = yield* listen(yield* next)
      yield* server.stopAccepting
      yield* closed
      client.send([bytes("still here")])
      expect(text(yield* far.next)).toBe("still here")
    }))
})
