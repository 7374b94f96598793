import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect, it } from "@effect/vitest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import { type Session, StreamAcceptor, StreamOpener } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { pattern } from "../../support/bytes.js"
import type { Connect } from "./links.js"
import { sha256 } from "./traffic.js"

const buffers = [1024, 65536]

/** The peer answers requests, and greets by its name. */
export const answersHttpClient = (connect: Connect, peer: string, name: string, atOnce = 100): void => {
  for (const buffer of buffers) {
    it.scopedLive(`${peer} answers an HttpClient when the windows have ${buffer} bytes`, () =>
      Effect.gen(function*() {
        const { session } = yield* connect({ streamBufferSize: buffer }, { buffer, serve: "http" })
        const content = pattern(300_000)
        const send = yield* sender(session)

        const hello = send(HttpClientRequest.get("http://peer/hello"))
        const bytes = send(HttpClientRequest.get(`http://peer/bytes?n=${content.byteLength}`))
        const echo = send(HttpClientRequest.bodyUint8Array(HttpClientRequest.post("http://peer/echo"), content))
        const slow = send(HttpClientRequest.get("http://peer/slow"))
        const answers = yield* Effect.all([hello, bytes, echo, slow], { concurrency: "unbounded" })

        const chunks = [1, 2, 3, 4, 5, 6].map((i) => `chunk ${i}\n`).join("")
        expect(answers.map(({ body, status }) => ({ status, sha256: sha256(body) }))).toEqual(
          [Buffer.from(`hello from ${name}\n`), content, content, Buffer.from(chunks)].map((body) => ({
            status: 200,
            sha256: sha256(body)
          }))
        )
        expect(answers[1].headers["x-sha256"]).toBe(sha256(content))
      }))
  }

  it.scopedLive(`${peer} answers ${atOnce} requests when an HttpClient sends them at once`, () =>
    Effect.gen(function*() {
      const { session } = yield* connect({ streamBufferSize: 4096 }, { buffer: 4096, serve: "http" })
      const send = yield* sender(session)
      const bytes = send(HttpClientRequest.get("http://peer/bytes?n=20000"))
      const bodies = yield* Effect.all(Array.from({ length: atOnce }, () => bytes), { concurrency: "unbounded" })
      expect(new Set(bodies.map(({ body }) => sha256(body)))).toEqual(new Set([sha256(pattern(20_000))]))
    }))
}

/** The peer sends requests. */
export const answersPeer = (connect: Connect, peer: string): void => {
  for (const buffer of buffers) {
    it.scopedLive(`HttpServer answers ${peer} when the windows have ${buffer} bytes`, () =>
      Effect.gen(function*() {
        const flags = { buffer, open: "http", streams: 20, bytes: 100_000 } as const
        const { go, session } = yield* connect({ streamBufferSize: buffer }, flags)
        yield* serveHttp(session)
        expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [], bytes: 20 * 100_000 })
      }))
  }
}

/** Answers a function that sends a request over a stream of the session and collects the response. */
const sender = (session: Session) =>
  Effect.map(
    Layer.build(Layer.provide(MuxHttp.layerClient(), Layer.succeed(StreamOpener, session))),
    (context) => (request: HttpClientRequest.HttpClientRequest) =>
      HttpClient.execute(request).pipe(
        Effect.flatMap(({ arrayBuffer, headers, status }) =>
          Effect.map(arrayBuffer, (body) => ({ status, headers, body: new Uint8Array(body) }))
        ),
        Effect.provide(context)
      )
  )

/** Serves an app that echoes the body of a request, or sends a greeting. */
const serveHttp = (session: Session) =>
  HttpRouter.empty.pipe(
    HttpRouter.all(
      "/echo",
      Effect.map(HttpServerRequest.HttpServerRequest, (request) => HttpServerResponse.stream(request.stream))
    ),
    HttpRouter.all("*", HttpServerResponse.text("hello from node\n")),
    HttpServer.serve(),
    Layer.provide(MuxHttp.layerServer()),
    Layer.provide(Layer.succeed(StreamAcceptor, session)),
    Layer.build
  )
