import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { describe, expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as MuxRpc from "effect-wsmux/MuxRpc"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { quiet } from "../support/observe.js"
import { patience, within } from "../support/within.js"

const settings = { ...quiet, streamBufferSize: 64 * 1024 }

class Api extends RpcGroup.make(
  Rpc.make("WhoAmI", { success: Schema.String }),
  Rpc.make("Header", { payload: { name: Schema.String }, success: Schema.NullOr(Schema.String) }),
  Rpc.make("Count", { payload: { to: Schema.Number }, success: Schema.Number, stream: true })
) {}

const handlers = Api.toLayer({
  WhoAmI: () =>
    Effect.map(
      Effect.serviceOption(Session.Session),
      Option.match({ onNone: () => "unknown", onSome: ({ principal }) => String(principal) })
    ),
  Header: ({ name }, { headers }) => Effect.succeed(headers[name] ?? null),
  Count: ({ to }) => Stream.range(1, to)
})

/** A server of calls for all its clients, who name themselves in a header. Completes with its address. */
const listen = () =>
  Effect.gen(function*() {
    const transports = yield* NodeTransportServer.make({
      authorize: ({ headers }) => Effect.succeed(headers["x-user"])
    })
    const sessions = yield* SessionServer.fromTransportServer(transports, settings)
    yield* RpcServer.layer(Api).pipe(
      Layer.provide([handlers, MuxRpc.layerProtocolSessionServer()]),
      Layer.provide([Layer.succeed(SessionServer.SessionServer, sessions), RpcSerialization.layerMsgPack]),
      Layer.build
    )
    return `ws://${Address.format(transports.address)}`
  })

const call = (session: Context.Tag.Service<Session.StreamOpener>) =>
  MuxRpc.layerProtocolClient().pipe(
    Layer.provide([Layer.succeed(Session.StreamOpener, session), RpcSerialization.layerMsgPack]),
    Layer.build,
    Effect.flatMap((context) => Effect.provide(RpcClient.make(Api), context))
  )

const dial = (url: string, user: string) =>
  Effect.flatMap(
    NodeTransport.connect(url, { headers: { "x-user": user } }),
    (transport) => Effect.provideService(Session.makeClient(settings), Transport, transport)
  )

describe("MuxRpc.layerProtocolSessionServer", () => {
  it.scopedLive("MuxRpc.layerProtocolSessionServer gives handlers the session and the headers", () =>
    Effect.gen(function*() {
      const url = yield* listen()
      const users = ["Ada", "Grace", "Edsger"]
      const answers = yield* Effect.forEach(users, (user) =>
        Effect.gen(function*() {
          const api = yield* Effect.flatMap(dial(url, user), call)
          const own = RpcClient.withHeaders(api.Header({ name: "x-user" }), { "x-user": "another" })
          return yield* Effect.all([
            api.WhoAmI(),
            api.Header({ name: "x-user" }),
            own,
            Stream.runSum(api.Count({ to: 1000 }))
          ], { concurrency: "unbounded" })
        }), { concurrency: "unbounded" }).pipe(within(patience, "the answers to three clients"))
      expect(answers).toEqual(users.map((user) => [user, user, "another", 500_500]))
    }))

  it.scopedLive("MuxRpc.layerProtocolSessionServer answers 500 calls of a client at once", () =>
    Effect.gen(function*() {
      const api = yield* Effect.flatMap(Effect.flatMap(listen(), (url) => dial(url, "Ada")), call)
      const sums = yield* Effect.forEach(
        Array.from({ length: 500 }, (_, i) => i + 1),
        (to) => Stream.runSum(api.Count({ to })),
        { concurrency: "unbounded" }
      ).pipe(within("100 seconds", "500 answers")) // 4 s of computing on an idle machine
      expect(sums).toEqual(Array.from({ length: 500 }, (_, i) => (i + 1) * (i + 2) / 2))
    }))
})

describe("MuxRpc with a ReconnectingSession", () => {
  it.scopedLive("MuxRpc calls over the next session when the session is lost, and fails once none follows", () =>
    Effect.gen(function*() {
      const url = yield* listen()
      const session = yield* ReconnectingSession.make({
        transport: NodeTransport.connect(url, { headers: { "x-user": "Ada" } }),
        schedule: Schedule.spaced("10 millis"),
        settings
      })
      const api = yield* call(session)
      for (let i = 0; i < 3; i++) {
        const answer = Effect.retry(api.WhoAmI(), Schedule.spaced("10 millis"))
        expect(yield* answer.pipe(within(patience, "an answer over the next session"))).toBe("Ada")
        yield* Effect.flatMap(session.current, ({ close }) => close)
      }
      yield* session.close
      expect(yield* Effect.flip(api.WhoAmI())).toMatchObject({
        _tag: "RpcClientError",
        cause: { _tag: "NotConnected", reason: "Closed" }
      })
    }))
})
