import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Tls from "node:tls"
import { WebSocket } from "ws"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { plainly, quiet } from "../../support/observe.js"
import { provideTo } from "../../support/provideTo.js"
import { makeSessions, settle } from "../../support/sessions.js"
import { eventually, standstill, wired } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const kib = 1024
const sha = (data: Uint8Array) => createHash("sha256").update(data).digest("hex")
const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

const upgradedEcho = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  const socket = yield* request.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw((message) => write(message))
  return HttpServerResponse.empty()
}).pipe(Effect.scoped)

const streamed = Effect.map(
  HttpServerRequest.HttpServerRequest,
  (request) => HttpServerResponse.stream(request.stream, { contentType: "application/octet-stream" })
)

/** An HTTP server at the server's end of a session, and an HTTP client at the other end. */
const makeHttp = <E, R>(routes: (router: HttpRouter.HttpRouter) => HttpRouter.HttpRouter<E, R>) =>
  Effect.gen(function*() {
    const config = { ...quiet, streamBufferSize: 64 * kib }
    const ends = yield* wired["ws"]!()
    const client = yield* Effect.provideService(Session.makeClient(config), Transport, ends.client)
    const server = yield* Effect.provideService(Session.makeServer(config), Transport, ends.server)
    const base = HttpRouter.empty.pipe(
      HttpRouter.get("/hello", HttpServerResponse.text("hello from inside")),
      HttpRouter.post("/echo", streamed),
      HttpRouter.get("/socket", upgradedEcho)
    )
    yield* Layer.build(
      (HttpServer.serve(routes(base as HttpRouter.HttpRouter)) as Layer.Layer<never, never, HttpServer.HttpServer>)
        .pipe(
          // Node's default of 5 s may close an idle connection in the moment in which a slow machine uses it again.
          Layer.provide(provideTo(MuxHttp.layerServer({ keepAliveTimeout: 60_000 }), server))
        )
    )
    const context = yield* Layer.build(
      provideTo(MuxHttp.layerClient({ maxSockets: 100 }), client)
    )
    return {
      client,
      server,
      send: (request: HttpClientRequest.HttpClientRequest) => Effect.provide(HttpClient.execute(request), context)
    }
  })

const same = <E, R>(router: HttpRouter.HttpRouter<E, R>) => router

describe("MuxHttp", () => {
  it.scopedLive("MuxHttp answers 1,000 requests over 100 streams when 100 are pending at a time", () =>
    Effect.gen(function*() {
      const { client, send } = yield* makeHttp(same)
      const one = (i: number) =>
        Effect.gen(function*() {
          const body = pattern(i * 31)
          const answer = yield* send(
            HttpClientRequest.bodyUint8Array(HttpClientRequest.post("http://inside/echo"), body)
          )
          expect([answer.status, sha(new Uint8Array(yield* answer.arrayBuffer))]).toEqual([200, sha(body)])
        })
      yield* Effect.forEach(Array.from({ length: 1000 }, (_, i) => i), one, { concurrency: 100, discard: true })
      expect((yield* client.snapshot).counters.opened).toBe(100)
    }))

  it.scopedLive("MuxHttp.layerClient keeps connections alive when its options leave that open", () =>
    Effect.gen(function*() {
      const { client } = yield* makeHttp(same)
      const hello = HttpClientRequest.get("http://inside/hello")
      const twice = Effect.repeatN(Effect.flatMap(HttpClient.execute(hello), ({ text }) => text), 1)
      yield* Effect.provide(twice, provideTo(MuxHttp.layerClient({ keepAlive: undefined }), client))
      expect((yield* client.snapshot).counters.opened).toBe(1)
    }))

  const chunks = (count: number, onSent: () => void) =>
    Stream.range(1, count).pipe(
      Stream.rechunk(10), // the platform's client does not wait behind the last write of a chunk
      Stream.map(() => {
        onSent()
        return pattern(16 * kib)
      })
    )

  it.scopedLive("MuxHttp serves an HttpApi and its derived client", () =>
    Effect.gen(function*() {
      class Api extends HttpApi.make("api").add(
        HttpApiGroup.make("greetings").add(
          HttpApiEndpoint.post("greet", "/greet")
            .setPayload(Schema.Struct({ name: Schema.String }))
            .addSuccess(Schema.Struct({ greeting: Schema.String }))
        )
      ) {}
      const ends = yield* wired["ws"]!()
      const client = yield* Effect.provideService(Session.makeClient(quiet), Transport, ends.client)
      const server = yield* Effect.provideService(Session.makeServer(quiet), Transport, ends.server)
      const Greetings = HttpApiBuilder.group(Api, "greetings", (handlers) =>
        handlers.handle("greet", ({ payload }) =>
          Effect.succeed({ greeting: `hello, ${payload.name}` })))
      yield* Layer.build(
        HttpApiBuilder.serve().pipe(
          Layer.provide(HttpApiBuilder.api(Api)),
          Layer.provide(Greetings),
          Layer.provide(provideTo(MuxHttp.layerServer(), server))
        )
      )
      const answer = yield* HttpApiClient.make(Api, { baseUrl: "http://inside" }).pipe(
        Effect.flatMap((api) =>
          api.greetings.greet({ payload: { name: "you" } })
        ),
        Effect.provide(provideTo(MuxHttp.layerClient(), client))
      )
      expect(answer).toEqual({ greeting: "hello, you" })
    }))

  it.scopedLive("MuxHttp.layerClient sends a body no faster than the app reads the body", () =>
    Effect.gen(function*() {
      let sent = 0
      const reading = yield* Deferred.make<void>()
      const { send } = yield* makeHttp(HttpRouter.post(
        "/slow",
        Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          yield* Deferred.await(reading)
          const size = yield* Stream.runFold(request.stream, 0, (sum, chunk) => sum + chunk.byteLength)
          return HttpServerResponse.text(String(size))
        })
      ))
      const body = HttpBody.stream(chunks(1000, () => sent++))
      const answer = yield* Effect.fork(
        send(HttpClientRequest.setBody(HttpClientRequest.post("http://inside/slow"), body))
      )
      yield* eventually(() => sent > 0)
      yield* standstill(() => sent)
      expect(sent).toBeLessThan(100) // a window, and the buffers of Node's HTTP
      yield* Deferred.succeed(reading, undefined)
      expect(yield* Effect.flatMap(Fiber.join(answer), ({ text }) => text)).toBe(String(1000 * 16 * kib))
    }))

  it.scopedLive("MuxHttp.layerServer sends a response no faster than the client reads the response", () =>
    Effect.gen(function*() {
      let sent = 0
      const { send } = yield* makeHttp(
        HttpRouter.get("/large", HttpServerResponse.stream(chunks(1000, () => sent++)))
      )
      const answer = yield* send(HttpClientRequest.get("http://inside/large"))
      yield* standstill(() => sent)
      expect(sent).toBeLessThan(100)
      const size = yield* Stream.runFold(answer.stream, 0, (sum, chunk) => sum + chunk.byteLength)
      expect([sent, size]).toEqual([1000, 1000 * 16 * kib])
    }))

  it.scopedLive("MuxHttp.layerServer upgrades a stream to a WebSocket when a request asks for it", () =>
    Effect.gen(function*() {
      const { client } = yield* makeHttp(same)
      const agent = yield* NodeDuplex.agent(client)
      const ws = new WebSocket("ws://inside/socket", { agent })
      yield* promise(() => once(ws, "open"))
      const answer = once(ws, "message")
      ws.send("there and back")
      expect(String((yield* promise(() => answer))[0])).toBe("there and back")
      const closed = once(ws, "close")
      ws.close(1000)
      expect((yield* promise(() => closed))[0]).toBe(1000)
    }))

  it.scopedLive("MuxHttp.layerServer answers 100 when a request expects it, and reads chunked bodies", () =>
    Effect.gen(function*() {
      const { client } = yield* makeHttp(same)
      const agent = yield* NodeDuplex.agent(client)
      const request = Http.request({
        host: "inside",
        path: "/echo",
        method: "POST",
        agent,
        headers: { expect: "100-continue", "transfer-encoding": "chunked" }
      })
      request.flushHeaders()
      yield* promise(() => once(request, "continue"))
      request.write("in ")
      request.end("chunks")
      const [response] = (yield* promise(() => once(request, "response"))) as [Http.IncomingMessage]
      const parts = yield* promise(() => response.toArray())
      expect([response.headers["transfer-encoding"], text(concat(parts))]).toEqual(["chunked", "in chunks"])
    }))

  it.scopedLive("MuxHttp.layerServer interrupts the route when the request is interrupted", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const stopped = yield* Deferred.make<void>()
      const { send } = yield* makeHttp(HttpRouter.get(
        "/endless",
        Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
        )
      ))
      const request = yield* Effect.fork(send(HttpClientRequest.get("http://inside/endless")))
      yield* Deferred.await(started).pipe(within(patience, "the start of the route"))
      yield* Fiber.interrupt(request)
      yield* Deferred.await(stopped).pipe(within(patience, "the interruption of the route"))
    }))

  it.scopedLive("MuxHttp.layerClient fails the body of a response when the session ends", () =>
    Effect.gen(function*() {
      const { send, server } = yield* makeHttp(HttpRouter.get(
        "/endless",
        HttpServerResponse.stream(Stream.repeatValue(pattern(kib)).pipe(Stream.rechunk(1)))
      ))
      const answer = yield* send(HttpClientRequest.get("http://inside/endless"))
      const flowing = yield* Deferred.make<void>()
      const drain = Stream.runForEach(answer.stream, () => Deferred.succeed(flowing, undefined))
      const reading = yield* Effect.fork(Effect.exit(drain))
      yield* Deferred.await(flowing).pipe(within(patience, "the first bytes of the body"))
      yield* server.close
      expect(yield* Fiber.join(reading)).toMatchObject({ _tag: "Failure", cause: { _tag: "Fail" } })
      const late = yield* Effect.flip(send(HttpClientRequest.get("http://inside/hello")))
      expect(late).toMatchObject({ _tag: "RequestError", reason: "Transport" })
    }))

  it.scopedLive("MuxHttp.layerClient speaks TLS within its streams when the URL is https", () =>
    Effect.gen(function*() {
      const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
      const { client, server } = yield* makeSessions(plainly())
      const inside = Http.createServer((_request, response) => response.end("secret"))
      const secureContext = Tls.createSecureContext({ cert: fixture("cert.pem"), key: fixture("key.pem") })
      yield* Effect.fork(
        server.run((stream) =>
          Effect.flatMap(NodeDuplex.fromMuxStream(stream), (duplex) =>
            Effect.async<void>((resume) => {
              duplex.once("close", () => resume(Effect.void))
              inside.emit("connection", new Tls.TLSSocket(duplex, { isServer: true, secureContext }))
            }))
        )
      )
      const context = yield* Layer.build(
        provideTo(MuxHttp.layerClient({ rejectUnauthorized: false }), client)
      )
      const answer = yield* Effect.provide(HttpClient.get("https://inside/"), context)
      expect(yield* answer.text).toBe("secret")
    }))

  it.scopedLive("MuxHttp.makeServer has the session's address, and accepts from the first app on", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const http = yield* MuxHttp.makeServer(server)
      expect(http.address).toEqual({ _tag: "UnixAddress", path: "memory:server" })
      const stream = yield* Effect.fork(client.open())
      yield* settle
      expect((yield* server.snapshot).backlog).toBe(1)
      yield* http.serve(HttpServerResponse.text("at last"))
      const open = yield* Fiber.join(stream)
      yield* open.write(bytes("GET / HTTP/1.1\r\nhost: inside\r\nconnection: close\r\n\r\n"))
      const answer = concat(Chunk.toReadonlyArray(yield* Stream.runCollect(open.readable)))
      expect(text(answer)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*at last$/s)
    }))

  const comingBack = Effect.gen(function*() {
    const listening = yield* Layer.build(
      Layer.provide(SessionServer.layer({ streamBufferSize: 64 * kib }), NodeTransportServer.layer())
    )
    const server = Context.get(listening, SessionServer.SessionServer)
    const session = yield* ReconnectingSession.make({
      transport: NodeTransport.connect(`ws://${Address.format(server.address)}`),
      schedule: Schedule.spaced("10 millis"),
      settings: { streamBufferSize: 64 * kib }
    })
    return { server, session }
  })

  it.scopedLive("MuxHttp.makeServer serves its second app when the first was interrupted while it started", () =>
    Effect.gen(function*() {
      for (let yields = 0; yields < 6; yields++) {
        const { client, server } = yield* makeSessions(plainly())
        const http = yield* MuxHttp.makeServer(server)
        const first = yield* Effect.fork(Effect.scoped(
          Effect.zipRight(http.serve(HttpServerResponse.text("first")), Effect.never)
        ))
        yield* Effect.repeatN(Effect.yieldNow(), yields)
        yield* Fiber.interrupt(first)
        yield* http.serve(HttpServerResponse.text("second"))
        const asking = Effect.flatMap(HttpClient.get("http://inside/"), (answer) => answer.text)
        const answer = Effect.timeoutFail(
          Effect.provide(asking, provideTo(MuxHttp.layerClient(), client)),
          { duration: "10 seconds", onTimeout: () => new Error("the second app has not answered within 10 s") }
        )
        expect(yield* answer).toBe("second")
      }
    }))

  it.scopedLive("MuxHttp.makeServer stops with its scope when its first app was served uninterruptibly", () =>
    Effect.gen(function*() {
      const { server } = yield* makeSessions(plainly())
      const scope = yield* Scope.make()
      const http = yield* Scope.extend(MuxHttp.makeServer(server), scope)
      yield* Effect.uninterruptible(Scope.extend(http.serve(HttpServerResponse.empty()), scope))
      yield* Effect.timeoutFail(Effect.disconnect(Scope.close(scope, Exit.void)), {
        duration: "10 seconds",
        onTimeout: () => new Error("the scope has not closed within 10 s")
      })
    }))

  it.scopedLive("MuxHttp.layerServer serves over several sessions when its session reconnects", () =>
    Effect.gen(function*() {
      const { server, session } = yield* comingBack
      const answers = yield* Queue.unbounded<string>()
      yield* Layer.build(
        HttpServer.serve(HttpServerResponse.text("hello again")).pipe(
          Layer.provide(provideTo(MuxHttp.layerServer(), session))
        )
      )
      // Asks each client that dials in once, and closes the session.
      yield* Effect.fork(server.run((session) =>
        HttpClient.get("http://inside/").pipe(
          Effect.flatMap((response) => response.text),
          Effect.flatMap((answer) => Queue.offer(answers, answer)),
          Effect.provide(provideTo(MuxHttp.layerClient(), session))
        )
      ))
      expect(yield* Queue.takeN(answers, 3)).toEqual(Chunk.make("hello again", "hello again", "hello again"))
    }))

  it.scopedLive("MuxHttp.layerClient asks over several sessions when its session reconnects", () =>
    Effect.gen(function*() {
      const { server, session } = yield* comingBack
      const sessions = yield* Queue.unbounded<Session.Session>()
      yield* Effect.fork(server.run((session) =>
        Effect.gen(function*() {
          yield* Queue.offer(sessions, session)
          const http = yield* MuxHttp.makeServer(session)
          yield* http.serve(HttpServerResponse.text("hello again"))
          return yield* session.awaitClosed
        })
      ))
      const client = yield* Layer.build(provideTo(MuxHttp.layerClient(), session))
      for (let i = 0; i < 3; i++) {
        const response = yield* Effect.provide(HttpClient.get("http://outside/"), client)
        expect(yield* response.text).toBe("hello again")
        const before = yield* session.current
        yield* (yield* Queue.take(sessions)).close
        yield* session.state.changes.pipe(
          Stream.takeUntil((state) => state._tag === "Connected" && state.session !== before),
          Stream.runDrain
        )
      }
    }))
})
