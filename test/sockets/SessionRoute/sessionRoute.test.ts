import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it, vi } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Session from "effect-wsmux/Session"
import * as SessionRoute from "effect-wsmux/SessionRoute"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { Transport } from "effect-wsmux/Transport"
import { SessionClosed } from "effect-wsmux/WsmuxError"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import { pattern } from "../../support/bytes.js"
import { readAll } from "../../support/sessions.js"
import { rawAnswer, rawClient, upgradeHeaders } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const windowed = { streamBufferSize: 64 * 1024 }
const echo = (session: Session.Session) => session.run((stream) => Stream.run(stream.readable, stream.writable))

/** An application with a session route and an ordinary route. */
const makeApp = <E, R, P = unknown>(
  handler: (session: Session.Session<P>) => Effect.Effect<unknown, E, R>,
  options: SessionRoute.Options<never, P> = {},
  tls?: { readonly cert: Buffer; readonly key: Buffer }
) => serveRoute(SessionRoute.make(handler, { settings: windowed, ...options }), tls)

const serveRoute = <R>(route: SessionRoute.Route<R>, tls?: { readonly cert: Buffer; readonly key: Buffer }) =>
  Effect.gen(function*() {
    const app = HttpRouter.empty.pipe(
      HttpRouter.get("/hello", HttpServerResponse.text("an ordinary route")),
      HttpRouter.get("/streams", route)
    )
    const context = yield* Layer.build(
      HttpServer.serve(app).pipe(
        Layer.provideMerge(
          NodeHttpServer.layer(() => tls === undefined ? Http.createServer() : Https.createServer(tls), {
            port: 0,
            host: "127.0.0.1"
          })
        )
      ) as Layer.Layer<HttpServer.HttpServer>
    )
    const { address } = Context.get(context, HttpServer.HttpServer)
    const port = address._tag === "TcpAddress" ? address.port : 0
    return { http: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}/streams` }
  })

const dial = (url: string, headers?: Record<string, string>) =>
  Effect.flatMap(
    NodeTransport.connect(url, { headers }),
    (transport) => Effect.provideService(Session.makeClient(windowed), Transport, transport)
  )

const get = (url: string) => Effect.promise(() => fetch(url))

const statusOf = (url: string, headers?: Record<string, string>) =>
  Effect.map(Effect.flip(dial(url, headers)), (failure) => "status" in failure ? failure.status : failure)

describe("SessionRoute.make", () => {
  it.scopedLive("SessionRoute.make answers 503 when the process has maxConnections connections", () =>
    Effect.gen(function*() {
      const { ws } = yield* makeApp(echo)
      const scope = yield* Scope.make()
      yield* Scope.extend(dial(ws), scope)
      expect(yield* statusOf(ws)).toBe(503)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.retry(dial(ws), { while: (failure) => "status" in failure && failure.status === 503 })
    }).pipe(Effect.provide(SharedLimits.layer({ maxConnections: 1 }))))

  it.scopedLive("SessionRoute.makeDrainable drains its sessions and answers 503 while other routes go on", () =>
    Effect.gen(function*() {
      const { drain, route } = yield* SessionRoute.makeDrainable(echo, { settings: windowed })
      const { http, ws } = yield* serveRoute(route)
      const session = yield* dial(ws)
      const stream = yield* session.open()
      const draining = yield* Effect.fork(drain())
      yield* session.open().pipe(
        Effect.scoped,
        Effect.repeat({ while: () => true }),
        Effect.catchTag("SessionDraining", () => Effect.void), // the drain has begun
        within(patience, "the begin of the drain")
      )
      expect(yield* Effect.flip(dial(ws))).toMatchObject({ status: 503, retryAfterMillis: 1000 })
      expect(yield* Effect.promise(async () => (await fetch(`${http}/hello`)).text())).toBe("an ordinary route")
      yield* stream.end
      yield* Fiber.join(draining).pipe(within(patience, "the end of the drain"))
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1001, reason: "drained" }))
    }))

  it.scopedLive("SessionRoute.make lets in what its settings need when maxMessageSize is undefined", () =>
    Effect.gen(function*() {
      const settings = { streamBufferSize: 8 * 1024 * 1024 }
      const { ws } = yield* makeApp(echo, { settings, maxMessageSize: undefined })
      const session = yield* dial(ws)
      yield* session.open()
    }))

  it.scopedLive("SessionRoute.make carries streams both ways when its port has ordinary routes", () =>
    Effect.gen(function*() {
      const { http, ws } = yield* makeApp(echo)
      const sessions = yield* Effect.all([dial(ws), dial(ws)])
      const content = pattern(1_000_000)
      for (const session of sessions) {
        const stream = yield* session.open()
        const [, echoed] = yield* Effect.all(
          [Stream.run(Stream.make(content), stream.writable), readAll(stream)],
          { concurrency: 2 }
        )
        expect(Buffer.compare(echoed, content)).toBe(0)
        expect(yield* Effect.promise(async () => (await fetch(`${http}/hello`)).text())).toBe("an ordinary route")
      }
    }))

  it.scopedLive("SessionRoute.make answers with the failure before the upgrade when authorize fails", () =>
    Effect.gen(function*() {
      let sessions = 0
      const { ws } = yield* makeApp(() => Effect.sync(() => sessions++), {
        authorize: ({ headers }) =>
          headers.authorization === "Bearer right"
            ? Effect.void
            : Effect.fail(HttpServerResponse.empty({ status: 401, headers: { "www-authenticate": "Bearer" } }))
      })
      expect(yield* statusOf(ws)).toBe(401)
      expect(yield* statusOf(ws, { authorization: "Bearer wrong" })).toBe(401)
      expect(sessions).toBe(0)
      const session = yield* dial(ws, { authorization: "Bearer right" })
      expect(yield* session.awaitClosed).toEqual(new SessionClosed({ by: "peer", code: 1000, reason: "" }))
      expect(sessions).toBe(1)
    }))

  it.scopedLive("SessionRoute.make gives its session the principal when authorize succeeds with one", () =>
    Effect.gen(function*() {
      const principal = yield* Deferred.make<string | undefined>()
      const { ws } = yield* makeApp((session) => Deferred.succeed(principal, session.principal), {
        authorize: ({ headers }: HttpServerRequest.HttpServerRequest) => Effect.succeed(headers["x-user"])
      })
      yield* dial(ws, { "x-user": "Ada" })
      expect(yield* Deferred.await(principal).pipe(within(patience, "the principal of the session"))).toBe("Ada")
    }))

  it.scopedLive("SessionRoute.make sends no extra header when a value of an answer has a line break", () =>
    Effect.gen(function*() {
      const headers = { location: "/a\r\nset-cookie: b=c" }
      const { ws } = yield* makeApp(echo, {
        authorize: () => Effect.fail(HttpServerResponse.empty({ status: 302, headers }))
      })
      const answer = yield* rawAnswer(
        Number(new URL(ws).port),
        ["GET /streams HTTP/1.1", "host: a", ...upgradeHeaders, "", ""].join("\r\n")
      )
      expect(answer).not.toContain("set-cookie")
    }))

  for (
    const [name, allowedOrigins, origin, may] of [
      ["a page of its own", undefined, "SELF", true],
      ["a page of another origin", undefined, "https://evil.example", false],
      ["a page in allowedOrigins", ["https://app.example"], "https://app.example", true],
      ["a page of its own outside allowedOrigins", ["https://app.example"], "SELF", false],
      ["a page with the origin null", undefined, "null", false],
      ["a page while allowedOrigins is *", "*", "https://elsewhere.example", true]
    ] as const
  ) {
    it.scopedLive(`SessionRoute.make ${may ? "accepts" : "refuses"} a dial when it comes from ${name}`, () =>
      Effect.gen(function*() {
        const { http, ws } = yield* makeApp(echo, { allowedOrigins })
        const headers = { origin: origin === "SELF" ? http : origin }
        if (may) expect((yield* dial(ws, headers)).role).toBe("client")
        else expect(yield* statusOf(ws, headers)).toBe(403)
      }))
  }

  it.scopedLive("SessionRoute.make refuses a page of its own host when the page came without TLS", () =>
    Effect.gen(function*() {
      const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
      const [cert, key] = [fixture("cert.pem"), fixture("key.pem")]
      const { ws } = yield* makeApp(echo, {}, { cert, key })
      const url = ws.replace("ws:", "wss:")
      const dialFrom = (origin: string) =>
        NodeTransport.connect(url, {
          tls: { ca: cert, servername: "localhost" },
          headers: { host: "app.example", origin }
        })
      expect(yield* Effect.flip(dialFrom("http://app.example"))).toMatchObject({ status: 403 })
      yield* dialFrom("https://app.example")
    }))

  it.scopedLive("SessionRoute.make answers 426 when a request asks for no WebSocket", () =>
    Effect.gen(function*() {
      const { http } = yield* makeApp(echo)
      const response = yield* get(`${http}/streams`)
      expect([response.status, response.headers.get("upgrade")]).toEqual([426, "websocket"])
    }))

  it.scopedLive("SessionRoute.make answers 500 before the upgrade when its settings are invalid", () =>
    Effect.gen(function*() {
      const { ws } = yield* makeApp(echo, { settings: { streamBufferSize: -1 } })
      expect(yield* statusOf(ws)).toBe(500)
    }))

  it.scopedLive("SessionRoute.make closes the session and serves others when a handler fails", () =>
    Effect.gen(function*() {
      let calls = 0
      const { ws } = yield* makeApp((session): Effect.Effect<never, unknown> =>
        calls++ === 0 ? Effect.fail("enough") : echo(session)
      )
      expect(yield* (yield* dial(ws)).awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer" })
      const stream = yield* (yield* dial(ws)).open()
      yield* Stream.run(Stream.make(pattern(10)), stream.writable)
      expect(yield* readAll(stream)).toEqual(pattern(10))
    }))

  it.scopedLive("SessionRoute.make interrupts the handler when the connection is lost", () =>
    Effect.gen(function*() {
      const exit = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const { ws } = yield* makeApp((session) =>
        Effect.onExit(session.run(() => Effect.never), (exited) => Deferred.succeed(exit, exited))
      )
      const transport = yield* NodeTransport.connect(ws)
      yield* transport.close(1000, "", 0)
      expect(Exit.isFailure(yield* Deferred.await(exit).pipe(within(patience, "the exit of the handler")))).toBe(true)
    }))

  it.scopedLive("SessionRoute.make turns on TCP keep-alive when it accepts a connection", () =>
    Effect.gen(function*() {
      const set = vi.spyOn(Net.Socket.prototype, "setKeepAlive")
      yield* Effect.addFinalizer(() => Effect.sync(() => set.mockRestore()))
      const { ws } = yield* makeApp(echo, { settings: { ...windowed, keepAliveInterval: "7 seconds" } })
      yield* dial(ws)
      expect(set.mock.calls).toContainEqual([true, 7000])
    }))

  const strangers = {
    "no key": ["sec-websocket-version: 13"],
    "a malformed key": ["sec-websocket-version: 13", "sec-websocket-key: short"],
    "no version": ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="],
    "malformed protocols": [
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-protocol: one,,two"
    ],
    "an old version": ["sec-websocket-version: 7", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]
  }
  for (const [what, headers] of Object.entries(strangers)) {
    it.scopedLive(`SessionRoute.make answers and releases the connection when an upgrade has ${what}`, () =>
      Effect.gen(function*() {
        const over = yield* Deferred.make<void>()
        const app = SessionRoute.make(echo).pipe(Effect.onExit(() => Deferred.succeed(over, undefined)))
        const http = yield* NodeHttpServer.make(() => Http.createServer(), { port: 0, host: "127.0.0.1" })
        yield* http.serve(app)
        const { port } = http.address as Extract<typeof http.address, { readonly _tag: "TcpAddress" }>
        const upgrade = ["connection: upgrade", "upgrade: websocket", ...headers]
        const { answer, closed } = yield* rawClient(`ws://127.0.0.1:${port}/`, upgrade)
        expect(yield* answer).toMatch(/^HTTP\/1\.1 400 /)
        yield* closed
        yield* Deferred.await(over).pipe(within(patience, "the end of the route"))
      }))
  }
})
