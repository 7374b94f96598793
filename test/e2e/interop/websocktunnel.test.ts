import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect, it } from "@effect/vitest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Frame from "../../../src/internal/wire/frame.js"
import { bytes, pattern } from "../../support/bytes.js"
import { ack, dat, fin, syn } from "../../support/scriptedPeer.js"
import { eventually } from "../../support/transports.js"
import { describeGo } from "./goPeer.js"
import { rawLink } from "./rawLink.js"
import { digestOf, send, sha256 } from "./traffic.js"
import { answerOf, dialProxy, headers, secrets, startProxy, token, view } from "./websocktunnel.js"

const mebibyte = 1024 * 1024
const window = 4 * mebibyte

describeGo("authentication of the websocktunnel proxy", () => {
  for (const [which, secret] of secrets.entries()) {
    it.scopedLive(`the proxy lets a client in and tells its URL when secret ${which + 1} of 2 signed the token`, () =>
      Effect.gen(function*() {
        const { url, viewers } = yield* startProxy
        const { upgrade } = yield* rawLink(url, { headers: headers(token(secret)) })
        expect(upgrade.headers["x-websocktunnel-client-url"]).toBe(viewers)
      }))
  }

  const now = Math.floor(Date.now() / 1000)
  const refused = {
    "is signed with another secret": token("a third secret"),
    "is for another tunnel": token(secrets[0], { tid: "other" }),
    "has expired": token(secrets[0], { exp: now - 10 }),
    "is not valid yet": token(secrets[0], { nbf: now + 600 }),
    "is not signed with HS256": token(secrets[0], {}, { alg: "none" }),
    "is no token": "something else"
  }
  for (const [what, authorization] of Object.entries(refused)) {
    it.scopedLive(`the proxy turns a client away when its token ${what}`, () =>
      Effect.gen(function*() {
        const { url } = yield* startProxy
        expect(yield* Effect.flip(dialProxy(url, authorization))).toMatchObject({ reason: "Rejected" })
      }))
  }
})

describeGo("the streams of the websocktunnel proxy", () => {
  it.scopedLive("the proxy opens a stream with windows of 4 MiB when a viewer asks", () =>
    Effect.gen(function*() {
      const { next, send, url, viewers } = yield* rawTunnel
      const { response } = yield* view(`${viewers}/path?query`)
      expect(yield* next(1)).toEqual([syn(0)])
      yield* send(ack(0, window))
      expect(textOf(yield* next(1))).toMatch(/^GET \/path\?query HTTP\/1\.1\r\n/)
      yield* send(dat(0, bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")))
      expect(yield* answerOf(response)).toMatchObject({ status: 200, body: Buffer.from("hello"), complete: true })
      expect(yield* next(2)).toEqual([ack(0, 43), fin(0)])
      expect(url).toMatch(/^ws:/)
    }))

  it.scopedLive("the proxy reads no answer when the request is larger than a window and not yet written", () =>
    Effect.gen(function*() {
      const tunnel = yield* rawTunnel
      const { next, send, viewers } = tunnel
      const { response } = yield* view(viewers, { method: "POST" }, pattern(window + 1000))
      expect(yield* next(1)).toEqual([syn(0)])
      yield* send(ack(0, window))
      let written = 0
      while (written < window) written += sizeOf(yield* next(1))
      yield* send(dat(0, bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")))
      // the proxy would have returned credit if it had read the answer
      expect(yield* untilAnswered(tunnel, 2)).toEqual([])
      yield* send(ack(0, 2000))
      expect(yield* answerOf(response)).toMatchObject({ status: 200, complete: true })
      let rest = 0
      while (rest < 1000) rest += sizeOf(yield* next(1))
      expect((yield* next(2)).map(({ _tag }) => _tag)).toEqual(["Ack", "Fin"])
    }))

  it.scopedLive("the proxy sends FIN and takes nothing more of an answer when its viewer has gone", () =>
    Effect.gen(function*() {
      const tunnel = yield* rawTunnel
      const { next, send, viewers } = tunnel
      const { request, response } = yield* view(viewers)
      expect(yield* next(1)).toEqual([syn(0)])
      yield* send(ack(0, window))
      yield* next(1)
      yield* send(dat(0, bytes("HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\nbegun")))
      yield* Effect.promise(() => response)
      expect((yield* next(1))[0]).toMatchObject({ _tag: "Ack", id: 0 })
      request.destroy()
      expect(yield* next(1)).toEqual([fin(0)])
      const content = pattern(mebibyte)
      yield* send(dat(0, content), dat(0, content), dat(0, content))
      const frames = yield* untilAnswered(tunnel, 2)
      // a read that was under way may have taken some bytes
      const returned = frames.map((frame) => frame._tag === "Ack" ? frame.credit : 0)
      expect(returned.reduce((sum, credit) => sum + credit, 0)).toBeLessThan(mebibyte)
    }))
})

describeGo("a session with the websocktunnel proxy", () => {
  const manners = { "/whole": "before it answers", "/asItComes": "while it answers" }
  for (const [path, how] of Object.entries(manners)) {
    it.scopedLive(`an HttpServer answers 50 viewers at once when it reads each request ${how}`, () =>
      Effect.gen(function*() {
        const { viewers } = yield* serveHttp
        const content = pattern(100_000)
        const answers = yield* Effect.forEach(
          Array.from({ length: 50 }),
          () => Effect.flatMap(view(viewers + path, { method: "POST" }, content), ({ response }) => answerOf(response)),
          { concurrency: "unbounded" }
        )
        expect(new Set(answers.map(({ body, status }) => `${status} ${sha256(body)}`))).toEqual(
          new Set([`200 ${sha256(content)}`])
        )
      }))
  }

  it.scopedLive("an HttpServer answers a POST while it reads it when both fit into two windows", () =>
    Effect.gen(function*() {
      const { viewers } = yield* serveHttp
      const content = pattern(7 * mebibyte)
      const { response } = yield* view(`${viewers}/asItComes`, { method: "POST" }, content)
      expect(digestOf((yield* answerOf(response)).body)).toEqual(digestOf(content))
    }))

  it.scopedLive("a session carries a download whole when its viewer is slow and the settings are the preset", () =>
    Effect.gen(function*() {
      const { body, complete } = yield* downloadSlowly(SessionConfig.websocktunnel)
      expect(digestOf(body)).toEqual(digestOf(pattern(size)))
      expect(complete).toBe(true)
    }))

  it.scopedLive("a session loses bytes when it believes in windows larger than those of the proxy", () =>
    Effect.gen(function*() {
      const { body, complete } = yield* downloadSlowly({
        ...SessionConfig.websocktunnel,
        initialSendCredit: 2 * window
      })
      expect(body.byteLength).toBeLessThan(size)
      expect(complete).toBe(false)
    }))
})

/** The client of a tunnel, which the test plays frame by frame. */
const rawTunnel = Effect.gen(function*() {
  const { go, url, viewers } = yield* startProxy
  return { go, url, viewers, ...yield* rawLink(url, { headers: headers() }) }
})

/** Answers a further viewer, whose stream has this id, and completes with the frames of other streams. */
const untilAnswered = ({ next, send, viewers }: Effect.Effect.Success<typeof rawTunnel>, id: number) =>
  Effect.gen(function*() {
    const { response } = yield* view(viewers)
    const frames: Array<Frame.Frame | Frame.Malformed> = []
    const came = (tag: Frame.Frame["_tag"]) => frames.some((frame) => frame._tag === tag && frame.id === id)
    while (!came("Syn")) frames.push(...yield* next(1))
    yield* send(ack(id, window))
    while (!came("Dat")) frames.push(...yield* next(1))
    yield* send(dat(id, bytes("HTTP/1.1 204 No Content\r\n\r\n")))
    expect((yield* answerOf(response)).status).toBe(204)
    while (!came("Fin")) frames.push(...yield* next(1))
    return frames.filter((frame) => "id" in frame && frame.id !== id)
  })

const dialTunnel = (options: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const { url, viewers } = yield* startProxy
    const transport = yield* dialProxy(url)
    return { viewers, session: yield* Effect.provideService(Session.makeClient(options), Transport, transport) }
  })

/** An app behind the proxy that echoes a body: after its end, or chunk by chunk. */
const serveHttp = Effect.gen(function*() {
  const { session, viewers } = yield* dialTunnel(SessionConfig.websocktunnel)
  const request = HttpServerRequest.HttpServerRequest
  yield* HttpRouter.empty.pipe(
    HttpRouter.all(
      "/whole",
      Effect.map(
        Effect.flatMap(request, ({ arrayBuffer }) => arrayBuffer),
        (body) => HttpServerResponse.uint8Array(new Uint8Array(body))
      )
    ),
    HttpRouter.all("/asItComes", Effect.map(request, ({ stream }) => HttpServerResponse.stream(stream))),
    HttpServer.serve(),
    Layer.provide(MuxHttp.layerServer()),
    Layer.provide(Layer.succeed(Session.StreamAcceptor, session)),
    Layer.build
  )
  return { viewers }
})

const size = 48 * mebibyte

/** A download whose viewer starts to read when the server has used up its credit. */
const downloadSlowly = (options: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const { session, viewers } = yield* dialTunnel(options)
    const head = bytes(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\nconnection: close\r\n\r\n`)
    const answer = (stream: MuxStream) => Effect.zipRight(stream.read, send(stream, head, pattern(size)))
    yield* Effect.forkScoped(session.run(answer))
    const { response } = yield* view(viewers)
    yield* Effect.promise(() => response)
    yield* eventually(() => Effect.runSync(session.snapshot).streams.some(({ sendCredit }) => sendCredit === 0))
    return yield* answerOf(response)
  })

const textOf = ([frame]: ReadonlyArray<Frame.Frame | Frame.Malformed>): string =>
  frame?._tag === "Dat" ? Buffer.from(frame.payload).toString() : ""

/** The bytes of a DAT. Throws at any other frame. */
const sizeOf = ([frame]: ReadonlyArray<Frame.Frame | Frame.Malformed>): number => {
  if (frame?._tag !== "Dat") throw new Error(`the proxy sent ${JSON.stringify(frame)} instead of a DAT`)
  return frame.payload.byteLength
}
