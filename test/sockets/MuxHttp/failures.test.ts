import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Http from "node:http"
import { WebSocket } from "ws"
import { bytes, pattern, text } from "../../support/bytes.js"
import { quiet } from "../../support/observe.js"
import { provideTo } from "../../support/provideTo.js"
import { readAll } from "../../support/sessions.js"
import { eventually, signal, standstill, wired } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const kib = 1024
const window = 64 * kib

const modes = [["native", "auto"], ["plain", "off"]] as const

/** An HTTP server and an HTTP client at the ends of a session over a real WebSocket. */
const makeHttp = <E, R>(
  router: HttpRouter.HttpRouter<E, R>,
  options?: Http.ServerOptions,
  dialect: "auto" | "off" = "auto"
) =>
  Effect.gen(function*() {
    const config = { ...quiet, streamBufferSize: window, dialect }
    const ends = yield* wired["ws"]!()
    const client = yield* Effect.provideService(Session.makeClient(config), Transport, ends.client)
    const server = yield* Effect.provideService(Session.makeServer(config), Transport, ends.server)
    yield* Layer.build(
      (HttpServer.serve(router) as Layer.Layer<never, never, HttpServer.HttpServer>).pipe(
        Layer.provide(provideTo(MuxHttp.layerServer(options), server))
      )
    )
    const context = yield* Layer.build(provideTo(MuxHttp.layerClient(), client))
    return {
      client,
      server,
      send: (request: HttpClientRequest.HttpClientRequest) => Effect.provide(HttpClient.execute(request), context)
    }
  })

/** A body without an end, with the number of bytes made so far. */
const endless = () => {
  const body = { made: 0, stopped: false }
  const stream = Stream.repeatEffect(Effect.sync(() => {
    body.made += 16 * kib
    return pattern(16 * kib)
  })).pipe(Stream.rechunk(1), Stream.ensuring(Effect.sync(() => body.stopped = true)))
  return { body, stream }
}

/** Waits until the only stream of a session has had no credit for 20 polls. */
const stuck = (session: Session.Session) => {
  let polls = 0
  return Effect.repeat(Effect.delay(session.snapshot, 5), {
    until: ({ streams }) => (polls = streams[0]?.sendCredit === 0 ? polls + 1 : 0) === 20
  })
}

/** A route that reads the body of its request, and the outcome of that. */
const makeUpload = Effect.gen(function*() {
  const exit = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
  const first = yield* Deferred.make<void>()
  const route = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    yield* Stream.runForEach(request.stream, () => Deferred.succeed(first, undefined)).pipe(
      Effect.onExit((exited) => Deferred.succeed(exit, exited))
    )
    return HttpServerResponse.empty()
  })
  return {
    exit: Deferred.await(exit).pipe(within(patience, "the exit of the app")),
    first: Deferred.await(first).pipe(within(patience, "the first bytes of the body")),
    router: HttpRouter.empty.pipe(HttpRouter.post("/", route))
  }
})

describe("MuxHttp.layerClient", () => {
  it.scopedLive("MuxHttp.layerClient buffers the window and Node's buffers when a response is unread", () =>
    Effect.gen(function*() {
      const { body, stream } = endless()
      const { client, send, server } = yield* makeHttp(
        HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.stream(stream)))
      )
      const answer = yield* send(HttpClientRequest.get("http://inside/"))
      yield* stuck(server)
      const { counters, streams } = yield* client.snapshot
      expect(streams[0]!.bufferedBytes).toBeGreaterThanOrEqual(window / 2)
      expect(counters.bytesIn - streams[0]!.bufferedBytes).toBeLessThan(128 * kib) // what Node holds on this side
      expect(body.made - counters.bytesIn).toBeLessThan(256 * kib) // and on that
      yield* Stream.runDrain(Stream.take(answer.stream, 1))
    }))

  it.scopedLive("MuxHttp.layerClient waits after each element of a body when the route does not read", () =>
    Effect.gen(function*() {
      const read = yield* Deferred.make<void>()
      const { client, send, server } = yield* makeHttp(HttpRouter.empty.pipe(HttpRouter.post(
        "/",
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
          Effect.zipRight(
            Deferred.await(read),
            Effect.as(Stream.runDrain(Stream.take(request.stream, 1)), HttpServerResponse.empty())
          ))
      )))
      const { body, stream } = endless()
      yield* Effect.fork(send(HttpClientRequest.bodyStream(HttpClientRequest.post("http://inside/"), stream)))
      yield* Effect.repeat(Effect.delay(client.snapshot, 5), {
        until: ({ streams }) => streams[0]?.sendCredit === 0
      })
      yield* standstill(() => body.made)
      const { counters, streams } = yield* server.snapshot
      expect(streams[0]!.bufferedBytes).toBeLessThanOrEqual(window)
      expect(body.made - counters.bytesIn).toBeLessThan(256 * kib)
      yield* Deferred.succeed(read, undefined)
      yield* eventually(() => body.stopped)
    }))

  for (const [mode, dialect] of modes) {
    it.scopedLive(`MuxHttp.layerClient fails request and route when the stream of a body fails, ${mode}`, () =>
      Effect.gen(function*() {
        const { exit, first, router } = yield* makeUpload
        const { send } = yield* makeHttp(router, {}, dialect)
        const broken = Stream.fromEffect(Effect.zipRight(first, Effect.fail("the disk is gone")))
        const stream = Stream.concat(Stream.make(bytes("half of it")), broken)
        const request = HttpClientRequest.bodyStream(HttpClientRequest.post("http://inside/"), stream)
        const failure = yield* Effect.flip(send(HttpClientRequest.setHeader(request, "content-type", "text/x-own")))
        expect(failure).toMatchObject({ _tag: "RequestError", reason: "Encode", cause: "the disk is gone" })
        expect(Exit.isFailure(yield* exit)).toBe(true)
      }))
  }

  for (const [mode, dialect] of modes) {
    it.scopedLive(`MuxHttp.layerServer fails the body of a response when its stream fails, ${mode}`, () =>
      Effect.gen(function*() {
        const gone = yield* Deferred.make<never, string>()
        const stream = Stream.concat(Stream.make(bytes("half of it")), Stream.fromEffect(Deferred.await(gone)))
        const router = HttpRouter.empty.pipe(
          HttpRouter.get("/", HttpServerResponse.stream(stream, { contentType: "text/x-own" })),
          HttpRouter.get("/whole", HttpServerResponse.stream(Stream.make(bytes("all"))))
        )
        const { send } = yield* makeHttp(router, {}, dialect)
        const answer = yield* send(HttpClientRequest.get("http://inside/"))
        expect(answer.headers["content-type"]).toBe("text/x-own")
        yield* Deferred.fail(gone, "the disk is gone")
        expect(yield* Effect.flip(answer.text)).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
        const whole = yield* send(HttpClientRequest.get("http://inside/whole"))
        expect(yield* whole.text).toBe("all")
      }))
  }

  it.scopedLive("MuxHttp.layerServer stops the stream of a response when the client stops reading", () =>
    Effect.gen(function*() {
      const { body, stream } = endless()
      const { client, send } = yield* makeHttp(
        HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.stream(stream)))
      )
      const answer = yield* send(HttpClientRequest.get("http://inside/"))
      expect(yield* Stream.runCount(Stream.take(answer.stream, 3))).toBe(3)
      yield* eventually(() => body.stopped)
      yield* Effect.repeat(Effect.delay(client.snapshot, 1), { until: ({ streams }) => streams.length === 0 })
    }))

  for (
    const [what, end] of [
      ["is interrupted", ({ sending }: { sending: Fiber.RuntimeFiber<unknown, unknown> }) => Fiber.interrupt(sending)],
      ["loses its session", ({ client }: { client: Session.Session }) => client.close]
    ] as const
  ) {
    it.scopedLive(`MuxHttp.layerServer fails the body of a request when its sender ${what}`, () =>
      Effect.gen(function*() {
        const { exit, first, router } = yield* makeUpload
        const { client, send } = yield* makeHttp(router)
        const { body, stream } = endless()
        const sending = yield* Effect.fork(
          send(HttpClientRequest.bodyStream(HttpClientRequest.post("http://inside/"), stream))
        )
        yield* first
        yield* end({ client, sending })
        expect(Exit.isFailure(yield* exit)).toBe(true)
        yield* eventually(() => body.stopped)
        expect(Exit.isFailure(yield* Fiber.await(sending))).toBe(true)
      }))
  }
})

describe("MuxHttp.layerServer", () => {
  const hello = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("hello")))

  it.scopedLive("MuxHttp.layerServer answers 408 when the head of a request takes too long", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeHttp(hello, { headersTimeout: 50, connectionsCheckingInterval: 20 })
      const slow = yield* client.open()
      // On a busy machine the server has answered and left before this write, which then fails.
      yield* Effect.ignore(slow.write(bytes("GET / HTTP/1.1\r\nhost: inside\r\n")))
      expect(text(yield* readAll(slow))).toMatch(/^HTTP\/1\.1 408 /)
      expect(yield* server.isClosed).toBe(false)
    }))

  it.scopedLive("MuxHttp.layerServer answers 400 and ends the stream when a request is malformed", () =>
    Effect.gen(function*() {
      const { client } = yield* makeHttp(hello)
      const stream = yield* client.open()
      yield* stream.write(pattern(5000))
      expect(text(yield* readAll(stream))).toMatch(/^HTTP\/1\.1 400 /)
    }))

  for (const [mode, dialect] of modes) {
    it.scopedLive(`MuxHttp.makeServer ends its connections when its scope closes, ${mode}`, () =>
      Effect.gen(function*() {
        const config = { ...quiet, streamBufferSize: window, dialect }
        const ends = yield* wired["ws"]!()
        const client = yield* Effect.provideService(Session.makeClient(config), Transport, ends.client)
        const server = yield* Effect.provideService(Session.makeServer(config), Transport, ends.server)
        const scope = yield* Scope.make()
        const http = yield* Scope.extend(MuxHttp.makeServer(server), scope)
        yield* Scope.extend(http.serve(HttpServerResponse.text("hello")), scope)
        const agent = yield* NodeDuplex.agent(client, { keepAlive: true })
        const stream = yield* client.open()
        yield* stream.write(bytes("GET / HTTP/1.1\r\nhost: inside\r\n\r\n"))
        yield* stream.read
        yield* Scope.close(scope, Exit.void)
        expect((yield* Effect.either(readAll(stream)))._tag).toBe("Right")
        expect(yield* server.isClosed).toBe(false)
        expect(Object.keys(agent.sockets)).toEqual([])
      }))
  }
})

describe("MuxHttp.makeServer", () => {
  it.scopedLive("MuxHttp.makeServer ends an upgraded WebSocket at both ends when the session ends", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const { client, server } = yield* makeHttp(HttpRouter.empty.pipe(HttpRouter.get(
        "/",
        Effect.gen(function*() {
          const socket = yield* (yield* HttpServerRequest.HttpServerRequest).upgrade
          yield* socket.runRaw(() => {}).pipe(Effect.onExit((exit) => Deferred.succeed(ended, exit)))
          return HttpServerResponse.empty()
        }).pipe(Effect.scoped)
      )))
      const ws = new WebSocket("ws://inside/", { agent: yield* NodeDuplex.agent(client) })
      ws.on("error", () => {})
      yield* signal(ws, "open")
      const closed = signal<[number]>(ws, "close")
      yield* server.close
      expect((yield* closed)[0]).toBe(1006)
      yield* Deferred.await(ended).pipe(within(patience, "the end of the app"))
    }))
})
