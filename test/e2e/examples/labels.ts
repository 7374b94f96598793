import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Rpc from "@effect/rpc/Rpc"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { Effect, Layer, Schema } from "effect"
import { ByteStream, Session, StreamRouter } from "effect-wsmux"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as MuxRpc from "effect-wsmux/MuxRpc"

export class Api extends RpcGroup.make(Rpc.make("Double", { payload: { n: Schema.Number }, success: Schema.Number })) {}
const Calls = RpcServer.layer(Api).pipe(
  Layer.provide([Api.toLayer({ Double: ({ n }) => Effect.succeed(2 * n) }), MuxRpc.layerProtocolServer()])
)
export const serve = Effect.gen(function*() {
  const { http, log, rpc } = yield* StreamRouter.acceptors(yield* Session.Session, ["http", "log", "rpc"])
  yield* (yield* MuxHttp.makeServer(http)).serve(HttpServerResponse.text("hello"))
  yield* Layer.build(Layer.provide(Calls, [Layer.succeed(Session.StreamAcceptor, rpc), RpcSerialization.layerNdjson]))
  return yield* log.run((stream) => ByteStream.writeEnd(stream, "a line of the log"))
}).pipe(Effect.scoped)
