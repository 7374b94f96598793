import { describe, expect, it } from "@effect/vitest"
import { maxMessageSize } from "effect-wsmux/internal/settings/validate"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { ConnectFailure, InvalidConfiguration } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { start } from "../../support/observe.js"
import { readAll, readSome, settle } from "../../support/sessions.js"
import { keepAll } from "../../support/transports.js"
import { listen } from "../../support/transportSuite.js"

const sessionOver = ({ client }: MemoryTransport.Pair) => Effect.provideService(Session.makeClient(), Transport, client)

describe("MemoryTransport.makeServer", () => {
  it.scoped("MemoryTransport server runs its handler for each connection, including earlier ones", () =>
    Effect.gen(function*() {
      const server = yield* MemoryTransport.makeServer()
      const early = yield* server.connect()
      early.client.send([bytes("early")])
      const { next } = yield* keepAll(server)
      const late = yield* server.connect()
      late.client.send([bytes("late")])
      const received: Array<string> = []
      for (const transport of [yield* next, yield* next]) {
        received.push(text(yield* (yield* listen(transport)).next))
      }
      expect(received.sort()).toEqual(["early", "late"])
    }))

  it.scoped("MemoryTransport server passes request and principal on, and rejects unauthorized dials", () =>
    Effect.gen(function*() {
      const transports = yield* MemoryTransport.makeServer({
        authorize: ({ headers, url }) =>
          typeof headers["x-user"] === "string"
            ? Effect.succeed({ name: headers["x-user"], url })
            : Effect.fail({ status: 401 })
      })
      const server = yield* SessionServer.fromTransportServer(transports)
      yield* Effect.forkScoped(
        server.run((session, { url }) =>
          session.run((stream) =>
            Effect.zipRight(stream.write(bytes(`${session.principal.name} at ${url}`)), stream.end)
          )
        )
      )
      const session = yield* sessionOver(yield* transports.connect({ url: "/a?b", headers: { "x-user": "Ada" } }))
      expect(text(yield* readAll(yield* session.open()))).toBe("Ada at /a?b")
      expect(yield* Effect.flip(transports.connect())).toEqual(
        new ConnectFailure({ url: "memory:server", reason: "Rejected", status: 401 })
      )
    }))

  it.scoped("MemoryTransport server ends one connection when its handler ends or fails", () =>
    Effect.gen(function*() {
      const server = yield* MemoryTransport.makeServer()
      let handlers = 0
      yield* Effect.forkScoped(server.run(() => {
        handlers++
        return handlers === 1 ? Effect.fail("refused") : handlers === 2 ? Effect.dieMessage("broken") : Effect.never
      }))
      for (const _ of [1, 2]) {
        const { ended } = yield* listen((yield* server.connect()).client)
        expect((yield* ended).code).toBe(1006)
      }
      const third = yield* listen((yield* server.connect()).client)
      yield* settle
      expect([handlers, third.told]).toEqual([3, []])
    }))

  it.scoped("MemoryTransport server ends its connections when run is interrupted, and can run again", () =>
    Effect.gen(function*() {
      const server = yield* MemoryTransport.makeServer()
      const first = yield* keepAll(server)
      const { ended } = yield* listen((yield* server.connect()).client)
      yield* first.next
      yield* Fiber.interrupt(first.running)
      expect((yield* ended).code).toBe(1006)
      const second = yield* keepAll(server)
      yield* server.connect()
      yield* second.next
    }))

  it.scoped("MemoryTransport server ends all connections and refuses dials when its scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const server = yield* Scope.extend(MemoryTransport.makeServer(), scope)
      const { ended } = yield* listen((yield* server.connect()).client)
      yield* Scope.close(scope, Exit.void)
      expect((yield* ended).code).toBe(1006)
      expect(yield* Effect.flip(server.connect())).toEqual(
        new ConnectFailure({ url: "memory:server", reason: "Unreachable" })
      )
    }))

  it.scoped("MemoryTransport server keeps served connections and refuses others when it stops accepting", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch(true)
      const server = yield* MemoryTransport.makeServer({ authorize: () => gate.await })
      const waiting = yield* listen((yield* server.connect()).client)
      yield* gate.close
      const authorised = yield* start(Effect.flip(server.connect()))
      yield* server.stopAccepting
      yield* gate.open
      const refused = new ConnectFailure({
        url: "memory:server",
        reason: "Rejected",
        status: 503,
        retryAfterMillis: 1000
      })
      expect([yield* Fiber.join(authorised), yield* Effect.flip(server.connect())]).toEqual([refused, refused])
      expect((yield* waiting.ended).code).toBe(1006)

      const other = yield* MemoryTransport.makeServer()
      yield* keepAll(other)
      const served = yield* listen((yield* other.connect()).client)
      yield* other.stopAccepting
      yield* settle
      expect(served.told).toEqual([])
    }))

  it.scoped("MemoryTransport server applies its latency and maxMessageSize to each link", () =>
    Effect.gen(function*() {
      const server = yield* MemoryTransport.makeServer({ latency: "1 second", maxMessageSize: 99 })
      const { next } = yield* keepAll(server)
      const { client } = yield* server.connect()
      const far = yield* listen(yield* next)
      client.send([bytes("hello")])
      yield* TestClock.adjust(999)
      expect(far.told).toEqual([])
      yield* TestClock.adjust(1)
      expect(far.told).toEqual(["message"])
      expect([client.maxMessageSize, server.maxMessageSize]).toEqual([99, 99])
    }))
})

describe("MemoryTransport.makeSessions", () => {
  it.scoped("MemoryTransport.makeSessions joins two sessions by a link that can be cut", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* MemoryTransport.makeSessions()
      const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      yield* near.write(bytes("hello"))
      expect(text(yield* readSome(far))).toBe("hello")
      const read = yield* start(Effect.flip(near.read))
      yield* pair.cut
      expect((yield* Fiber.join(read))._tag).toBe("BrokenPipe")
    }))

  it.scoped("MemoryTransport.makeSessions sizes its link by the settings of both sessions", () =>
    Effect.gen(function*() {
      const large = { streamBufferSize: 8 * 1024 * 1024 }
      const sized = (options: MemoryTransport.SessionsOptions) =>
        Effect.map(MemoryTransport.makeSessions(options), ({ pair }) => pair.client.maxMessageSize)
      const needed = maxMessageSize({ ...SessionConfig.defaults, ...large })
      expect(yield* sized({ client: large })).toBe(needed)
      expect(yield* sized({ server: large })).toBe(needed)
      expect(yield* Effect.provide(sized({}), Layer.orDie(SessionConfig.layer(large)))).toBe(needed)
      expect(yield* Effect.flip(sized({ server: large, link: { maxMessageSize: 99 } }))).toBeInstanceOf(
        InvalidConfiguration
      )
    }))

  it.scoped(
    "MemoryTransport.makeSessions closes with its scope when the clock stands still",
    () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { client } = yield* Scope.extend(MemoryTransport.makeSessions({ link: { latency: "1 second" } }), scope)
        yield* Scope.close(scope, Exit.void)
        expect(yield* client.isClosed).toBe(true)
      }),
    { timeout: 20_000 }
  )
})
