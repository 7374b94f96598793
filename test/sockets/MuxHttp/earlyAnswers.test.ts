import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { bytes, pattern, text } from "../../support/bytes.js"
import { quiet } from "../../support/observe.js"
import { provideTo } from "../../support/provideTo.js"
import { wired } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const kib = 1024

const makeEnds = (dialect: "auto" | "off") =>
  Effect.gen(function*() {
    const config = { ...quiet, streamBufferSize: 64 * kib, dialect }
    const ends = yield* wired["ws"]!()
    const client = yield* Effect.provideService(Session.makeClient(config), Transport, ends.client)
    const server = yield* Effect.provideService(Session.makeServer(config), Transport, ends.server)
    const http = yield* Layer.build(provideTo(MuxHttp.layerClient(), client))
    return {
      client,
      server,
      send: (request: HttpClientRequest.HttpClientRequest) =>
        HttpClient.execute(request).pipe(
          Effect.flatMap((answer) => Effect.map(answer.text, (body) => `${answer.status} ${body}`)),
          Effect.provide(http),
          within(patience, "the answer")
        )
    }
  })

/** A body of 2 MiB: far more than the window and the buffers of both ends. */
const large = Stream.range(1, 128).pipe(Stream.rechunk(1), Stream.map(() => pattern(16 * kib)))

const upload = HttpClientRequest.bodyStream(HttpClientRequest.post("http://inside/"), large)

/** Serves one route, which answers without reading. */
const answerEarly = (server: Session.Session) =>
  Layer.build(
    (HttpServer.serve(HttpRouter.empty.pipe(HttpRouter.post("/", HttpServerResponse.text("early")))) as Layer.Layer<
      never,
      never,
      HttpServer.HttpServer
    >).pipe(Layer.provide(provideTo(MuxHttp.layerServer(), server)))
  )

/** Answers the first request by bytes, before its body is read. */
const answerBy = (server: Session.Session, answer: string) =>
  Effect.tap(server.accept, (stream) => Effect.zipRight(stream.read, stream.write(bytes(answer))))

describe("MuxHttp.layerClient", () => {
  for (const [mode, dialect] of [["native", "auto"], ["plain", "off"]] as const) {
    it.scopedLive(`MuxHttp.layerClient has the answer when a route answers before the body, ${mode}`, () =>
      Effect.gen(function*() {
        const { client, send, server } = yield* makeEnds(dialect)
        yield* answerEarly(server)
        expect(yield* send(upload)).toBe("200 early")
        expect(yield* send(upload)).toBe("200 early")
        expect((yield* client.snapshot).counters.opened).toBe(1) // the body went on, so the connection is kept
      }))
  }

  it.scopedLive("MuxHttp.layerClient has the answer when a route answers before a form", () =>
    Effect.gen(function*() {
      const { send, server } = yield* makeEnds("auto")
      yield* answerEarly(server)
      const form = new FormData()
      form.append("file", new Blob(["x".repeat(2048 * kib)]), "file")
      const request = HttpClientRequest.post("http://inside/")
      expect(yield* send(HttpClientRequest.bodyFormData(request, form))).toBe("200 early")
    }))

  it.scopedLive("MuxHttp.layerClient sends the whole body when the answer is complete before it", () =>
    Effect.gen(function*() {
      const { send, server } = yield* makeEnds("auto")
      const sending = yield* Effect.fork(send(upload))
      const stream = yield* answerBy(server, "HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nearly")
      const rest = { bytes: 0, end: "" }
      yield* Effect.repeat(stream.read, {
        until: (chunk) => {
          if (Option.isNone(chunk)) return true
          rest.bytes += chunk.value.byteLength
          rest.end = (rest.end + text(chunk.value)).slice(-5)
          return rest.end === "0\r\n\r\n"
        }
      })
      expect(rest.bytes).toBeGreaterThan(1900 * kib)
      expect(yield* Fiber.join(sending)).toBe("202 early")
    }))

  for (const end of ["resets", "ends"] as const) {
    it.scopedLive(`MuxHttp.layerClient fails when the server answers and ${end} the stream in the body`, () =>
      Effect.gen(function*() {
        const { send, server } = yield* makeEnds("auto")
        const sending = yield* Effect.fork(Effect.flip(send(upload)))
        const answering = yield* Scope.make()
        const stream = yield* Scope.extend(
          answerBy(server, "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 5\r\n\r\nlarge"),
          answering
        )
        if (end === "ends") yield* stream.end
        yield* Scope.close(answering, end === "ends" ? Exit.void : Exit.fail("the route failed"))
        expect(yield* Fiber.join(sending)).toMatchObject({ _tag: "RequestError", reason: "Transport" })
      }))
  }

  it.scopedLive("MuxHttp.layerClient has the answer when a request expects 100 and is refused at once", () =>
    Effect.gen(function*() {
      const { send, server } = yield* makeEnds("auto")
      const sending = yield* Effect.fork(send(HttpClientRequest.setHeader(upload, "expect", "100-continue")))
      const answer = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno"
      const stream = yield* answerBy(server, answer)
      yield* Effect.fork(Effect.forever(stream.read))
      expect(yield* Fiber.join(sending)).toBe("417 no")
    }))
})
