import * as MsgPack from "@effect/platform/MsgPack"
import * as Ndjson from "@effect/platform/Ndjson"
import * as Socket from "@effect/platform/Socket"
import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { describe, expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import type * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { quiet, quietly } from "../../support/observe.js"
import { makeStreams } from "../../support/sessions.js"
import { wired } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const window = 16 * 1024
const settings = { ...quiet, streamBufferSize: window }

/** Two sessions at the ends of one real WebSocket. */
const makeWired = Effect.gen(function*() {
  const ends = yield* wired["ws"]!()
  const client = yield* Effect.provideService(Session.makeClient(settings), Transport, ends.client)
  const server = yield* Effect.provideService(Session.makeServer(settings), Transport, ends.server)
  return { client, server }
})

class Procedures extends RpcGroup.make(
  Rpc.make("Name", { success: Schema.String }),
  Rpc.make("Lines", {
    payload: { count: Schema.Number, length: Schema.Number },
    success: Schema.String,
    stream: true
  })
) {}

interface Served {
  /** The number of lines made so far. */
  made: number
}

const serve = (session: Context.Tag.Service<Session.StreamAcceptor>, name: string, served: Served = { made: 0 }) =>
  RpcServer.layer(Procedures).pipe(
    Layer.provide(Procedures.toLayer({
      Name: () => Effect.succeed(name),
      Lines: ({ count, length }) =>
        Stream.range(1, count).pipe(
          Stream.rechunk(1),
          Stream.map((n) => {
            served.made++
            return `${name} ${n} `.padEnd(length, "x")
          })
        )
    })),
    Layer.provide(RpcServer.layerProtocolSocketServer),
    Layer.provide(MuxSocket.layerServer),
    Layer.provide(Layer.succeed(Session.StreamAcceptor, session)),
    Layer.provide(RpcSerialization.layerNdjson),
    Layer.build
  )

const call = (session: Context.Tag.Service<Session.StreamOpener>) =>
  RpcClient.layerProtocolSocket({ retryTransientErrors: true, retrySchedule: Schedule.spaced("10 millis") }).pipe(
    Layer.provide(MuxSocket.layer()),
    Layer.provide(Layer.succeed(Session.StreamOpener, session)),
    Layer.provide(RpcSerialization.layerNdjson),
    Layer.build,
    Effect.flatMap((context) => Effect.provide(RpcClient.make(Procedures), context))
  )

describe("MuxSocket with a Session", () => {
  it.scopedLive("RPC answers plain and streaming calls when both ends call over one WebSocket", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeWired
      yield* serve(client, "client")
      yield* serve(server, "server")
      const both = yield* Effect.forEach([client, server], call)
      const answers = yield* Effect.forEach(both, (procedures) =>
        Effect.all({
          name: procedures.Name(),
          lines: Effect.map(Stream.runCollect(procedures.Lines({ count: 100, length: 2000 })), (lines) => ({
            count: lines.length,
            last: Chunk.unsafeLast(lines).trimEnd().replace(/x+$/, "")
          }))
        }, { concurrency: 2 }), { concurrency: 2 })
      expect(answers).toEqual([
        { name: "server", lines: { count: 100, last: "server 100 " } },
        { name: "client", lines: { count: 100, last: "client 100 " } }
      ])
    }))

  it.scopedLive("RPC holds a producer back when its consumer is busy, and loses no element", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeWired
      const served = { made: 0 }
      yield* serve(server, "server", served)
      const procedures = yield* call(client)
      const [first, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const seen: Array<string> = []
      const consuming = yield* Effect.fork(Stream.runForEach(procedures.Lines({ count: 300, length: 4000 }), (line) => {
        seen.push(line)
        return Effect.zipRight(Deferred.succeed(first, undefined), Deferred.await(goOn))
      }))
      yield* Deferred.await(first).pipe(within(patience, "the first line"))
      // Calls over other streams continue meanwhile.
      const other = yield* call(client)
      for (let i = 0; i < 50; i++) expect(yield* other.Name()).toBe("server")
      expect(seen.length).toBe(1)
      expect(served.made).toBeLessThan(20) // the client of RPC buffers sixteen
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(consuming)
      expect(seen.map((line) => line.split(" ")[1])).toEqual(Array.from({ length: 300 }, (_, i) => String(i + 1)))
    }))
})

describe("MuxSocket with a ReconnectingSession", () => {
  const listening = Effect.map(
    Layer.build(Layer.provide(SessionServer.layer(settings), NodeTransportServer.layer())),
    (context) => Context.get(context, SessionServer.SessionServer)
  )
  const comingBack = (server: SessionServer.Service) =>
    ReconnectingSession.make({
      transport: NodeTransport.connect(`ws://${Address.format(server.address)}`),
      schedule: Schedule.spaced("10 millis"),
      settings
    })

  it.scopedLive("RPC clients call over the next session when the session is lost", () =>
    Effect.gen(function*() {
      const server = yield* listening
      const sessions = yield* Queue.unbounded<Session.Session>()
      let count = 0
      yield* Effect.fork(server.run((session) =>
        Effect.gen(function*() {
          yield* serve(session, `session ${count++}`)
          yield* Queue.offer(sessions, session)
          return yield* session.awaitClosed
        })
      ))
      const session = yield* comingBack(server)
      const procedures = yield* call(session)
      for (let i = 0; i < 3; i++) {
        expect(yield* Effect.retry(procedures.Name(), Schedule.spaced("10 millis"))).toBe(`session ${i}`)
        yield* (yield* Queue.take(sessions)).close
      }
    }))

  it.scopedLive("RPC servers serve every session when their session reconnects", () =>
    Effect.gen(function*() {
      const server = yield* listening
      const names = yield* Queue.unbounded<string>()
      yield* Effect.fork(server.run((session) =>
        Effect.gen(function*() {
          const procedures = yield* call(session)
          yield* Queue.offer(names, yield* procedures.Name())
        }).pipe(Effect.scoped)
      ))
      yield* serve(yield* comingBack(server), "the one that dials")
      expect(new Set(yield* Queue.takeN(names, 3))).toEqual(new Set(["the one that dials"]))
    }))
})

describe("MuxSocket.fromMuxStream", () => {
  type PackError = Ndjson.NdjsonError | MsgPack.MsgPackError
  type Values = Channel.Channel<Chunk.Chunk<unknown>, Chunk.Chunk<unknown>, Socket.SocketError | PackError, never>
  const channels: Readonly<Record<string, (socket: Socket.Socket) => Values>> = {
    Ndjson: (socket: Socket.Socket) => Ndjson.duplex(Socket.toChannel<PackError>(socket)),
    MsgPack: (socket: Socket.Socket) => MsgPack.duplex(Socket.toChannel<PackError>(socket))
  }
  const values = [{ n: 1, text: "täxt" }, [1, 2, 3], { nested: { deep: ["x".repeat(5000)] } }, { n: 4 }]

  for (const [name, duplex] of Object.entries(channels)) {
    it.scopedLive(`MuxSocket.fromMuxStream carries values in ${name} both ways, and ends with the stream`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeStreams(quietly())
        const exchange = (stream: typeof near, sent: ReadonlyArray<unknown>) =>
          Effect.flatMap(MuxSocket.fromMuxStream(stream), (socket) =>
            Stream.fromIterable(sent).pipe(
              Stream.rechunk(1),
              Stream.pipeThroughChannel(duplex(socket)),
              Stream.runCollect
            ))
        const [here, there] = yield* Effect.all(
          [exchange(near, values), exchange(far, [...values].reverse())],
          { concurrency: 2 }
        )
        expect([Chunk.toReadonlyArray(here), Chunk.toReadonlyArray(there)]).toEqual([[...values].reverse(), values])
      }))
  }
})
