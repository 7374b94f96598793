import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import type { PartialSettings } from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer, type UpgradeRequest } from "effect-wsmux/TransportServer"
import { SessionClosed } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { bytes, text } from "../support/bytes.js"
import { auto, makeSessions, readSome } from "../support/sessions.js"
import { urlOf } from "../support/transports.js"
import { patience, within } from "../support/within.js"

const dial = (url: string, user: string, settings?: PartialSettings) =>
  Effect.flatMap(
    NodeTransport.connect(url, { headers: { "x-user": user } }),
    (transport) => Effect.provideService(Session.makeClient(settings), Transport, transport)
  )

const authorising = NodeTransportServer.make({
  authorize: ({ headers }) => Effect.succeed({ name: String(headers["x-user"]) })
})

describe("SessionServer", () => {
  it.scopedLive("SessionServer gives its handler principal and request when authorize succeeds with one", () =>
    Effect.gen(function*() {
      const transports = yield* authorising
      const server = yield* SessionServer.fromTransportServer(transports)
      const requests: Array<UpgradeRequest> = []
      yield* Effect.forkScoped(server.run((session, request) => {
        requests.push(request)
        return session.run((stream) => stream.write(bytes(session.principal.name)))
      }))
      for (const user of ["Ada", "Grace"]) {
        const session = yield* dial(`${urlOf(transports)}/streams?as=${user}`, user)
        const stream = yield* session.open()
        expect(text(yield* readSome(stream))).toBe(user)
        expect(session.principal).toBe(undefined)
      }
      expect(requests.map(({ headers, url }) => [url, headers["x-user"]])).toEqual([
        ["/streams?as=Ada", "Ada"],
        ["/streams?as=Grace", "Grace"]
      ])
    }))

  it.scopedLive("SessionServer.make gives principals when its transports come from the context", () =>
    Effect.gen(function*() {
      const transports = yield* authorising
      const server = yield* Effect.provideService(SessionServer.make(), TransportServer, transports)
      const principal = yield* Deferred.make<unknown>()
      yield* Effect.forkScoped(server.run((session) => Deferred.succeed(principal, session.principal)))
      yield* dial(urlOf(transports), "Ada")
      expect(yield* Deferred.await(principal).pipe(within(patience, "the principal of the session"))).toEqual({
        name: "Ada"
      })
    }))

  it.scopedLive("SessionServer.drain hands its port over at once, and ends when its streams are over", () =>
    Effect.gen(function*() {
      const transports = yield* NodeTransportServer.make()
      const url = urlOf(transports)
      const server = yield* SessionServer.fromTransportServer(transports, auto)
      const echo = (session: Session.Session) => session.run((stream) => Stream.run(stream.readable, stream.writable))
      yield* Effect.forkScoped(server.run(echo))
      const session = yield* dial(url, "Ada", auto)
      const stream = yield* session.open()
      const drain = yield* Effect.fork(server.drain())
      const draining = yield* session.awaitDraining
      expect(draining).toMatchObject({ by: "peer", redial: true })
      expect(draining.graceMillis).toBeGreaterThan(20_000) // what is left of the 30 s, by the real clock
      expect(draining.graceMillis).toBeLessThanOrEqual(30_000)

      const next = yield* NodeTransportServer.make({ port: Number(new URL(url).port) })
      yield* Effect.forkScoped((yield* SessionServer.fromTransportServer(next, auto)).run(echo))
      yield* (yield* dial(url, "Ada", auto)).open()

      yield* stream.write(bytes("after"))
      expect(text(yield* readSome(stream))).toBe("after")
      yield* stream.end
      yield* Fiber.join(drain).pipe(within(patience, "the end of the drain"))
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1001, reason: "drained" }))
    }))
})

describe("Session.withPrincipal", () => {
  it.scoped("Session.withPrincipal changes only the principal when it wraps a session", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions()
      const named = Session.withPrincipal(server, "Ada")
      expect([server.principal, named.principal, Session.isSession(named)]).toEqual([undefined, "Ada", true])
      const [near, far] = yield* Effect.all([client.open(), named.accept], { concurrency: 2 })
      yield* near.write(bytes("hello"))
      expect(text(yield* readSome(far))).toBe("hello")
      yield* named.close
      expect(yield* server.isClosed).toBe(true)
    }))
})
