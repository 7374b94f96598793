import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import type { Session } from "effect-wsmux/Session"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as Http from "node:http"
import { bytes, pattern } from "../../support/bytes.js"
import { quiet } from "../../support/observe.js"
import { provideTo } from "../../support/provideTo.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { eventually } from "../../support/transports.js"

const kib = 1024
const get = bytes("GET / HTTP/1.1\r\nhost: inside\r\n\r\n")
const post = bytes(`POST / HTTP/1.1\r\nhost: inside\r\ncontent-length: ${kib * kib}\r\n\r\n`)

/** Whether the handler of the request was interrupted. */
interface Handler {
  running: boolean
}

type Serve = (
  session: Session,
  handler: Handler,
  options: { readonly stallTimeout?: Duration.DurationInput }
) => Effect.Effect<unknown, never, Scope.Scope>

/** Servers whose responses have no end, and wait for their reader. */
const servers: Readonly<Record<string, Serve>> = {
  "MuxHttp.layerServer": (session, handler, options) => {
    const body = Stream.repeatValue(pattern(20 * kib)).pipe(Stream.rechunk(1))
    const response = Effect.sync(() => handler.running = true).pipe(
      Effect.as(HttpServerResponse.stream(Stream.ensuring(body, Effect.sync(() => handler.running = false))))
    )
    const router = HttpRouter.empty.pipe(HttpRouter.get("/", response), HttpRouter.post("/", response))
    return Layer.build(
      HttpServer.serve(router).pipe(Layer.provide(provideTo(MuxHttp.layerServer(options), session)))
    )
  },
  "NodeDuplex.serve": (session, handler, options) => {
    const http = Http.createServer((_request, response) => {
      handler.running = true
      response.on("close", () => handler.running = false)
      const send = () => {
        while (response.write(pattern(20 * kib)));
        response.once("drain", send)
      }
      send()
    })
    return Effect.forkScoped(NodeDuplex.serve(session, http, options))
  }
}

/** A request of a scripted client that grants no credit beyond the first 64 KiB. */
const makeRequest = (
  serve: Serve,
  requests: ReadonlyArray<Uint8Array>,
  options: { readonly stallTimeout?: Duration.DurationInput } = {}
) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", { ...quiet, streamBufferSize: 64 * kib })
    const handler: Handler = { running: false }
    yield* serve(peer.session, handler, options)
    yield* peer.send(syn(1), ack(1, 64 * kib), ...requests.map((request) => dat(1, request)))
    yield* eventually(() => handler.running)
    let credit = -1
    yield* Effect.repeat(peer.session.snapshot, {
      until: ({ streams: [stream] }) => {
        const stands = stream?.sendCredit === 0 && stream.waitingBytes === credit
        credit = stream?.waitingBytes ?? -1
        return stands
      }
    })
    return { ...peer, handler }
  })

describe("stallTimeout", () => {
  for (const [name, serve] of Object.entries(servers)) {
    for (
      const [what, requests] of [
        ["", [get]],
        [" behind an unread body", [post, pattern(60 * kib)]]
      ] as const
    ) {
      it.scoped(`${name} interrupts a response when its client ends${what} and stalls`, () =>
        Effect.gen(function*() {
          const { handler, send, session } = yield* makeRequest(serve, requests)
          yield* TestClock.adjust("200 seconds")
          expect(handler.running).toBe(true) // a client that pauses is no client that has gone
          yield* send(fin(1))
          yield* TestClock.adjust("59 seconds")
          expect(handler.running).toBe(true)
          yield* TestClock.adjust("61 seconds")
          yield* eventually(() => !handler.running)
          yield* Effect.repeat(session.snapshot, { until: ({ streams }) => streams.length === 0 })
          expect(yield* session.isClosed).toBe(false)
        }), 20_000)
    }

    it.scoped(
      `${name} interrupts a response when the stallTimeout of its options expires`,
      () =>
        Effect.gen(function*() {
          const { handler, send } = yield* makeRequest(serve, [get], { stallTimeout: "5 seconds" })
          yield* send(fin(1))
          yield* TestClock.adjust("10 seconds")
          yield* eventually(() => !handler.running)
        }),
      20_000
    )

    it.scoped(`${name} continues a response when its client ends and reads slowly`, () =>
      Effect.gen(function*() {
        const { frames, handler, send } = yield* makeRequest(serve, [get])
        yield* frames
        yield* send(fin(1))
        for (let i = 0; i < 10; i++) {
          yield* TestClock.adjust("50 seconds")
          yield* send(ack(1, 100))
          expect((yield* frames).map((frame) => frame._tag === "Dat" ? frame.payload.byteLength : frame._tag))
            .toEqual([100])
        }
        expect(handler.running).toBe(true)
      }), 20_000)
  }
})
