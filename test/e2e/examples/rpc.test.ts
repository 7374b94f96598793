import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

class Api extends RpcGroup.make(
  Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String })
) {}

/** Answers the calls that come over the peer's streams. */
const serve = (session: Session.Session, greeting: string) =>
  RpcServer.layer(Api).pipe(
    Layer.provide(Api.toLayer({ Greet: ({ name }) => Effect.succeed(`${greeting}, ${name}`) })),
    Layer.provide(RpcServer.layerProtocolSocketServer),
    Layer.provide(MuxSocket.layerServer),
    Layer.provide([Layer.succeed(Session.StreamAcceptor, session), RpcSerialization.layerNdjson])
  )

/** Calls over a stream of our own. */
const call = (session: Session.Session, name: string) =>
  Effect.flatMap(RpcClient.make(Api), (api) => api.Greet({ name })).pipe(
    Effect.provide(
      RpcClient.layerProtocolSocket().pipe(
        Layer.provide(MuxSocket.layer()),
        Layer.provide([Layer.succeed(Session.StreamOpener, session), RpcSerialization.layerNdjson])
      )
    ),
    Effect.scoped
  )

it.scopedLive("both ends call procedures of the other when they share one WebSocket", () =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair()
    const client = yield* Effect.provideService(Session.makeClient(), Transport, pair.client)
    const server = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
    yield* Layer.build(serve(client, "hello from the client"))
    yield* Layer.build(serve(server, "hello from the server"))
    expect(yield* Effect.all([call(client, "you"), call(server, "you")], { concurrency: 2 })).toEqual([
      "hello from the server, you",
      "hello from the client, you"
    ])
  }))
