import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as MuxRpc from "effect-wsmux/MuxRpc"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { patience, within } from "../../support/within.js"

class Api extends RpcGroup.make(
  Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String }),
  Rpc.make("Log", { success: Schema.String, stream: true })
) {}

/** Serves every client that connects. */
const Server = RpcServer.layer(Api).pipe(
  Layer.provide(Api.toLayer({
    Greet: ({ name }) => Effect.succeed(`hello, ${name}`),
    Log: () => Stream.repeatValue("a line of a log without end")
  })),
  Layer.provide(MuxRpc.layerProtocolSessionServer()),
  Layer.provide(RpcSerialization.layerMsgPack)
)

/** Each call has a stream of its own over one WebSocket. */
const client = (url: string) =>
  MuxRpc.layerProtocolClient().pipe(
    Layer.provide(Session.layerClient()),
    Layer.provide([NodeTransport.layer(url), RpcSerialization.layerMsgPack])
  )

it.scopedLive("a call is answered when the reader of a log without end is busy beside it", () =>
  Effect.gen(function*() {
    const sessions = yield* SessionServer.SessionServer
    yield* Layer.build(Server)
    const program = Effect.gen(function*() {
      const api = yield* RpcClient.make(Api)
      return yield* api.Log().pipe(
        Stream.take(1),
        Stream.mapEffect(() => api.Greet({ name: "you" })), // the log waits meanwhile
        Stream.runCollect
      )
    })
    const greetings = yield* Effect.provide(program, client(`ws://${Address.format(sessions.address)}`)).pipe(
      within(patience, "the greeting")
    )
    expect([...greetings]).toEqual(["hello, you"])
  }).pipe(Effect.provide(SessionServer.layer().pipe(Layer.provide(NodeTransportServer.layer())))))
