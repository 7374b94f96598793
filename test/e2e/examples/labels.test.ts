import * as HttpClient from "@effect/platform/HttpClient"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import { expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as MuxRpc from "effect-wsmux/MuxRpc"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { patience, within } from "../../support/within.js"
import { Api, serve } from "./labels.js"

it.scopedLive("one session serves RPC, HTTP and streams of its own when their labels tell them apart", () =>
  Effect.gen(function*() {
    const sessions = yield* SessionServer.SessionServer
    yield* Effect.forkScoped(sessions.run((session) => Effect.provideService(serve, Session.Session, session)))
    const program = Effect.gen(function*() {
      const session = yield* Session.Session
      const api = yield* RpcClient.make(Api)
      const answers = yield* Effect.all([
        api.Double({ n: 21 }),
        Effect.flatMap(HttpClient.get("http://inside/"), (response) => response.text),
        Effect.scoped(Effect.flatMap(session.open({ label: "log" }), (stream) => ByteStream.readText(stream)))
      ], { concurrency: 3 })
      const other = yield* session.open({ label: "other" }).pipe(Effect.flatMap(ByteStream.readText), Effect.flip)
      return [answers, other] as const
    })
    const [answers, other] = yield* program.pipe(
      Effect.scoped,
      Effect.provide(
        Layer.mergeAll(
          Layer.provide(MuxRpc.layerProtocolClient(), RpcSerialization.layerNdjson),
          MuxHttp.layerClient({ label: "http" })
        ).pipe(
          Layer.provideMerge(Session.layerClient()),
          Layer.provide(NodeTransport.layer(`ws://${Address.format(sessions.address)}`))
        )
      ),
      within(patience, "the answers")
    )
    expect(answers).toEqual([42, "hello", "a line of the log"])
    expect(other).toMatchObject({ _tag: "StreamReset", by: "peer", reason: "no handler for the label" })
  }).pipe(Effect.provide(SessionServer.layer().pipe(Layer.provide(NodeTransportServer.layer())))))
