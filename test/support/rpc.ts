import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import * as MuxRpc from "effect-wsmux/MuxRpc"
import * as Session from "effect-wsmux/Session"
import type { NotConnected, OpenError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

class Sad extends Schema.TaggedError<Sad>()("Sad", { why: Schema.String }) {}

/** The procedures of the tests. */
export class Procedures extends RpcGroup.make(
  Rpc.make("Echo", { payload: { text: Schema.String }, success: Schema.String }),
  Rpc.make("Fail", { success: Schema.Void, error: Sad }),
  Rpc.make("Die", { success: Schema.Void }),
  Rpc.make("Wait", { success: Schema.Void }),
  Rpc.make("Header", { payload: { name: Schema.String }, success: Schema.NullOr(Schema.String) }),
  /** Emits `count` texts of this length. */
  Rpc.make("Texts", {
    payload: { count: Schema.Number, length: Schema.Number },
    success: Schema.String,
    error: Sad,
    stream: true
  })
) {}

/** What the handlers have done. */
export interface Served {
  /** The number of texts that were made. */
  texts: number
  /** The calls of `Wait` that have begun, and the interrupted ones. */
  waits: number
  interrupted: number
}

export const makeServed = (): Served => ({ texts: 0, waits: 0, interrupted: 0 })

const handlers = (served: Served) =>
  Procedures.toLayer({
    Echo: ({ text }) => Effect.succeed(text),
    Fail: () => Effect.fail(new Sad({ why: "as asked" })),
    Die: () => Effect.dieMessage("the handler is broken"),
    Wait: () =>
      Effect.zipRight(Effect.sync(() => served.waits++), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => served.interrupted++))
      ),
    Header: ({ name }, { headers }) => Effect.succeed(headers[name] ?? null),
    Texts: ({ count, length }) =>
      Stream.range(1, count).pipe(
        Stream.rechunk(1),
        Stream.map((n) => {
          served.texts++
          return `${n} `.padEnd(length, "ä")
        }),
        Stream.onEnd(Effect.void)
      )
  })

/** A server of the procedures over a protocol. */
export const layerServer = (served: Served) => Layer.provide(RpcServer.layer(Procedures), handlers(served))

interface Settings extends MuxRpc.ServerOptions {
  readonly serialization?: Layer.Layer<RpcSerialization.RpcSerialization>
}

/** Serves the procedures to the peer of a session. */
export const serve = (
  session: Session.Acceptor<NotConnected | OpenError>,
  served: Served = makeServed(),
  { serialization = RpcSerialization.layerJson, ...options }: Settings = {}
) =>
  layerServer(served).pipe(
    Layer.provide(MuxRpc.layerProtocolServer(options)),
    Layer.provide([Layer.succeed(Session.StreamAcceptor, session as never), serialization]),
    Layer.build
  )

/** Makes a client that calls over streams of a session. */
export const connect = (
  session: Session.Opener<NotConnected | OpenError>,
  { serialization = RpcSerialization.layerJson, ...options }: Settings = {}
) =>
  MuxRpc.layerProtocolClient(options).pipe(
    Layer.provide([Layer.succeed(Session.StreamOpener, session), serialization]),
    Layer.build,
    Effect.flatMap((context) => Effect.provide(RpcClient.make(Procedures), context))
  )
