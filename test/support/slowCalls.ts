import * as Socket from "@effect/platform/Socket"
import * as SocketServer from "@effect/platform/SocketServer"
import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import * as MuxRpc from "effect-wsmux/MuxRpc"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Mailbox from "effect/Mailbox"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { runDeterministically } from "./deterministic.js"
import { Random } from "./random.js"
import { makeSlowLink } from "./slowLink.js"

const link = { rate: 200_000, latency: 50 }
export const roundTrip = 2 * link.latency
/** The size of an element of the large answer. */
export const element = 250_000

class Api extends RpcGroup.make(
  Rpc.make("Large", { payload: { elements: Schema.Number }, success: Schema.String, stream: true }),
  Rpc.make("Small", { payload: { n: Schema.Number }, success: Schema.Number })
) {}

const handlers = Api.toLayer({
  Large: ({ elements }) => Stream.rechunk(Stream.map(Stream.range(1, elements), () => "x".repeat(element)), 1),
  Small: ({ n }) => Effect.succeed(n)
})

type Ends = { readonly client: Transport; readonly server: Transport }

const muxRpc = (dialect: "auto" | "off") => ({ client, server }: Ends) =>
  Effect.gen(function*() {
    // the short form of the test lasts six intervals
    const settings = { streamBufferSize: 256 * 1024, keepAliveInterval: "1 second", dialect } as const
    const near = yield* Effect.provideService(Session.makeClient(settings), Transport, client)
    const far = yield* Effect.provideService(Session.makeServer(settings), Transport, server)
    yield* RpcServer.layer(Api).pipe(
      Layer.provide([handlers, MuxRpc.layerProtocolServer()]),
      Layer.provide([Layer.succeed(Session.StreamAcceptor, far), RpcSerialization.layerNdjson]),
      Layer.build
    )
    const context = yield* MuxRpc.layerProtocolClient().pipe(
      Layer.provide([Layer.succeed(Session.StreamOpener, near), RpcSerialization.layerNdjson]),
      Layer.build
    )
    return { api: yield* Effect.provide(RpcClient.make(Api), context), isLost: near.isClosed }
  })

/** Each makes an `RpcClient` whose `RpcServer` is at the other end of a link. */
const protocols = {
  native: muxRpc("auto"),
  plain: muxRpc("off"),
  oneSocket: ({ client, server }: Ends) =>
    Effect.gen(function*() {
      let isLost = false
      const accepted = SocketServer.SocketServer.of({
        address: { _tag: "UnixAddress", path: "" },
        run: (handler) => Effect.zipRight(Effect.flatMap(makeSocket(server), handler), Effect.never) as never
      })
      yield* RpcServer.layer(Api).pipe(
        Layer.provide([handlers, RpcServer.layerProtocolSocketServer]),
        Layer.provide([Layer.succeed(SocketServer.SocketServer, accepted), RpcSerialization.layerNdjson]),
        Layer.build
      )
      const dialled = Effect.map(makeSocket(client), (socket) =>
        Socket.Socket.of({
          ...socket,
          runRaw: (handler, options) =>
            Effect.ensuring(
              socket.runRaw(handler, options),
              Effect.sync(() => {
                isLost = true
              })
            )
        }))
      const context = yield* RpcClient.layerProtocolSocket().pipe(
        Layer.provide([Layer.effect(Socket.Socket, dialled), RpcSerialization.layerNdjson]),
        Layer.build
      )
      return { api: yield* Effect.provide(RpcClient.make(Api), context), isLost: Effect.sync(() => isLost) }
    })
}

/** A WebSocket as a platform `Socket`, which buffers what is written. */
const makeSocket = (transport: Transport): Effect.Effect<Socket.Socket> =>
  Effect.map(Mailbox.make<Uint8Array>(), (inbox) => {
    transport.listen({
      onMessage: (message) => inbox.unsafeOffer(message),
      onText: () => {},
      onWritable: () => {},
      onClose: () => inbox.unsafeDone(Exit.void)
    })
    const run: Socket.Socket["run"] = (handler, options) =>
      Effect.zipRight(
        options?.onOpen ?? Effect.void,
        Stream.runForEach(Mailbox.toStream(inbox), (chunk) => {
          const handled = handler(chunk)
          return Effect.isEffect(handled) ? handled : Effect.void
        })
      )
    const encoder = new TextEncoder()
    return Socket.Socket.of({
      [Socket.TypeId]: Socket.TypeId,
      run,
      runRaw: run as Socket.Socket["runRaw"],
      writer: Effect.succeed((chunk) =>
        Effect.sync(() => {
          if (Socket.isCloseEvent(chunk)) return
          transport.send([typeof chunk === "string" ? encoder.encode(chunk) : chunk])
        })
      )
    })
  })

/**
 * Makes 100 small calls per second beside a large one, over a link of 200 KB/s with a round trip of 100 ms. Returns the
 * quantiles of their times in milliseconds.
 */
export const measureCalls = (name: keyof typeof protocols, elements: number) => {
  const program = Effect.gen(function*() {
    // sessions close by the clock
    const scope = yield* Effect.acquireRelease(
      Scope.make(),
      (scope, exit) =>
        Effect.flatMap(
          Effect.fork(Scope.close(scope, exit)),
          (closing) => Effect.repeat(TestClock.adjust(100), { until: () => closing.unsafePoll() !== null })
        )
    )
    const { api, isLost } = yield* Scope.extend(Effect.flatMap(makeSlowLink(link), protocols[name]), scope)
    const waits: Array<number> = []
    const small = (n: number) =>
      Effect.gen(function*() {
        const before = yield* Clock.currentTimeMillis
        yield* api.Small({ n })
        waits.push((yield* Clock.currentTimeMillis) - before)
      })
    const large = yield* Effect.fork(Stream.runFold(api.Large({ elements }), 0, (sum, text) => sum + text.length))
    const since = yield* Clock.currentTimeMillis
    const calling = yield* Effect.fork(Effect.gen(function*() {
      const calls: Array<Fiber.Fiber<void, unknown>> = []
      while (large.unsafePoll() === null) {
        calls.push(yield* Effect.fork(small(calls.length)))
        yield* Effect.sleep(10)
      }
      yield* Fiber.joinAll(calls)
      return calls.length
    }))
    while (calling.unsafePoll() === null) yield* TestClock.adjust(10)
    const size = yield* Fiber.join(large)
    const count = yield* Fiber.join(calling)
    const seconds = ((yield* Clock.currentTimeMillis) - since) / 1000
    waits.sort((a, b) => a - b)
    const at = (quantile: number) => waits[Math.floor(quantile * (waits.length - 1))]!
    return { size, count, answered: waits.length, seconds, isLost: yield* isLost, p50: at(0.5), p99: at(0.99) }
  })
  const exit = runDeterministically(
    () => Effect.scoped(program),
    { shuffled: false, preemption: 0, maxTurns: Infinity },
    new Random(1)
  )
  return Exit.getOrElse(exit, (cause) => {
    throw new Error(Cause.pretty(cause))
  })
}
