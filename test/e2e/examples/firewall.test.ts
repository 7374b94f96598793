import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

// Inside: dials out, and serves the requests that come back through its one WebSocket.
const inside = (url: string) =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/status", HttpServerResponse.text("all is well in here")),
    HttpServer.serve(),
    Layer.provide(MuxHttp.layerServer()),
    Layer.provide(Session.layerClient({ streamBufferSize: 256 * 1024 })),
    Layer.provide(NodeTransport.layer(url))
  )

// Outside: sends requests to the program that has dialled in.
const ask = (session: Session.Session) =>
  HttpClient.get("http://inside/status").pipe(
    Effect.flatMap((response) => response.text),
    Effect.provide(MuxHttp.layerClient().pipe(Layer.provide(Layer.succeed(Session.StreamOpener, session))))
  )

const Outside = SessionServer.layer({ streamBufferSize: 256 * 1024 }).pipe(Layer.provide(NodeTransportServer.layer()))

it.scopedLive("HttpClient asks a program behind a firewall when the program has dialled", () =>
  Effect.gen(function*() {
    const server = yield* SessionServer.SessionServer
    const answer = yield* Deferred.make<string, unknown>()
    yield* Effect.fork(server.run((session) => Effect.intoDeferred(ask(session), answer)))
    yield* Layer.build(inside(`ws://${Address.format(server.address)}`))
    expect(yield* Deferred.await(answer)).toBe("all is well in here")
  }).pipe(Effect.provide(Outside)))
