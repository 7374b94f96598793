import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcClientError from "@effect/rpc/RpcClientError"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { provideTo } from "../../support/provideTo.js"

class Procedures extends RpcGroup.make(
  Rpc.make("Number", { success: Schema.Number }),
  Rpc.make("Wait", { success: Schema.Void })
) {}

/** An RPC client over a ReconnectingSession with a server per connection. `silence` stalls the network. */
const makeClient = (keepAliveInterval: Duration.DurationInput) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const served = { connections: 0, waits: 0 }
    const networks: Array<MemoryTransport.Pair> = []
    const serve = (transport: Transport) =>
      Effect.gen(function*() {
        const number = ++served.connections
        const session = yield* Effect.provideService(Session.makeServer(quiet), Transport, transport)
        yield* RpcServer.layer(Procedures).pipe(
          Layer.provide(Procedures.toLayer({
            Number: () => Effect.succeed(number),
            Wait: () => Effect.zipRight(Effect.sync(() => served.waits++), Effect.never)
          })),
          Layer.provide(RpcServer.layerProtocolSocketServer),
          Layer.provide(provideTo(MuxSocket.layerServer, session)),
          Layer.provide(RpcSerialization.layerNdjson),
          Layer.build
        )
      })
    const session = yield* Scope.extend(
      ReconnectingSession.make({
        transport: Effect.gen(function*() {
          const pair = yield* Scope.extend(MemoryTransport.makePair(), scope)
          networks.push(pair)
          yield* Effect.forkIn(Scope.extend(serve(pair.server), scope), scope)
          return pair.client
        }),
        settings: { keepAliveInterval }
      }),
      scope
    )
    const procedures = yield* RpcClient.layerProtocolSocket({ retryTransientErrors: true }).pipe(
      Layer.provide(provideTo(MuxSocket.layer(), session)),
      Layer.provide(RpcSerialization.layerNdjson),
      Layer.build,
      Effect.flatMap((context) => Effect.provide(RpcClient.make(Procedures), context)),
      Scope.extend(scope)
    )
    const silence = Effect.suspend(() =>
      Effect.forEach(networks, ({ stall }) => Effect.zipRight(stall("client"), stall("server")))
    )
    // sessions over a stalled network close by the clock
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(Effect.fork(Scope.close(scope, Exit.void)), (closing) =>
        Effect.repeat(TestClock.adjust("1 seconds"), { until: () => closing.unsafePoll() !== null }))
    )
    return { procedures, served, silence }
  })

describe("MuxSocket with RPC and a ReconnectingSession", () => {
  it.scoped("RPC calls fail when the keep-alive of their session is shorter than that of RPC", () =>
    Effect.gen(function*() {
      const { procedures, served, silence } = yield* makeClient("4 seconds")
      expect(yield* procedures.Number()).toBe(1)
      const waiting = yield* start(procedures.Wait())
      yield* silence
      yield* TestClock.adjust("12 seconds")
      expect(yield* failureOf(waiting)).toBeInstanceOf(RpcClientError.RpcClientError)
      const next = yield* start(Effect.retry(procedures.Number(), Schedule.spaced("1 seconds")))
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(next)).toBe(2)
      expect(served.waits).toBe(1)
    }))

  it.scoped("RPC calls stay pending and are not sent again when RPC gives up the connection", () =>
    Effect.gen(function*() {
      const { procedures, served, silence } = yield* makeClient("1 hour")
      expect(yield* procedures.Number()).toBe(1)
      const waiting = yield* start(procedures.Wait())
      yield* silence
      yield* TestClock.adjust("3 minutes")
      yield* expectWaiting(waiting)
      expect(served.waits).toBe(1)
    }))
})
