import * as Socket from "@effect/platform/Socket"
import * as SocketServer from "@effect/platform/SocketServer"
import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { describe, expect, it } from "@effect/vitest"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import * as Session from "effect-wsmux/Session"
import { BrokenPipe, SessionClosed, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { bytes, pattern, text } from "../support/bytes.js"
import { plainly, start } from "../support/observe.js"
import { makeSessions, makeStreams, readAll, settle } from "../support/sessions.js"
import { patience, within } from "../support/within.js"

/** A running socket of a stream, and the peer's `MuxStream`. */
const makeSocket = (streamBufferSize = 1024) =>
  Effect.gen(function*() {
    const config = { streamBufferSize }
    const streams = yield* makeStreams(plainly({ client: config, server: config }))
    const socket = yield* MuxSocket.fromMuxStream(streams.near)
    const received = yield* Queue.unbounded<string>()
    const running = yield* start(socket.run((chunk) => Queue.offer(received, text(chunk))))
    return { ...streams, socket, received, running }
  })

describe("MuxSocket.fromMuxStream", () => {
  it.scoped("MuxSocket.fromMuxStream hands over each chunk, and completes when the peer ends", () =>
    Effect.gen(function*() {
      const { far, received, running } = yield* makeSocket()
      yield* far.write(bytes("one"))
      expect(yield* Queue.take(received)).toBe("one")
      yield* far.write(bytes("two"))
      yield* far.end
      yield* Fiber.join(running)
      expect(yield* Queue.take(received)).toBe("two")
    }))

  it.scoped("MuxSocket.fromMuxStream writes bytes and text, and FIN when the writer's scope closes", () =>
    Effect.gen(function*() {
      const { far, received, running, socket } = yield* makeSocket()
      yield* Effect.scoped(Effect.gen(function*() {
        const write = yield* socket.writer
        yield* write(bytes("bytes and "))
        yield* write("täxt")
      }))
      expect(text(yield* readAll(far))).toBe("bytes and täxt")
      yield* far.write(bytes("still listening"))
      expect(yield* Queue.take(received)).toBe("still listening")
      yield* far.end
      yield* Fiber.join(running)
    }))

  it.scoped("MuxSocket.fromMuxStream keeps writing when the peer has ended its half", () =>
    Effect.gen(function*() {
      const { far, running, socket } = yield* makeSocket()
      yield* far.write(bytes("question"))
      yield* far.end
      yield* Fiber.join(running)
      yield* Effect.scoped(Effect.flatMap(socket.writer, (write) => write("answer")))
      expect(text(yield* readAll(far))).toBe("answer")
    }))

  it.scoped("MuxSocket.fromMuxStream fails writes when its run has failed or its half has ended", () =>
    Effect.gen(function*() {
      const lost = yield* makeSocket()
      const write = yield* lost.socket.writer
      yield* lost.pair.cut
      yield* Effect.flip(Fiber.join(lost.running))
      expect(yield* Effect.flip(write("late"))).toMatchObject({ reason: "Write", cause: { _tag: "BrokenPipe" } })

      const ended = yield* makeSocket()
      const writeOn = yield* ended.socket.writer
      yield* writeOn(new Socket.CloseEvent())
      yield* Fiber.join(ended.running)
      expect(yield* Effect.flip(writeOn("late"))).toMatchObject({ reason: "Write", cause: { _tag: "BrokenPipe" } })
    }))

  it.scoped("MuxSocket.fromMuxStream delays writes until its run and the peer's credit", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const socket = yield* MuxSocket.fromMuxStream(near)
      const write = yield* socket.writer
      const writing = yield* start(write(pattern(3000)))
      expect(writing.unsafePoll()).toBe(null)
      yield* start(socket.run(() => {}))
      expect(writing.unsafePoll()).toBe(null)
      const reading = yield* Effect.fork(readAll(far))
      yield* Fiber.join(writing)
      yield* near.end
      expect(yield* Fiber.join(reading)).toEqual(pattern(3000))
    }))

  it.scoped("MuxSocket.fromMuxStream reads no more when its handler is busy", () =>
    Effect.gen(function*() {
      const { client, far, near } = yield* makeStreams(plainly())
      const socket = yield* MuxSocket.fromMuxStream(near)
      const done = yield* Deferred.make<void>()
      const seen: Array<number> = []
      yield* start(socket.run((chunk) => {
        seen.push(chunk.byteLength)
        return Deferred.await(done)
      }))
      yield* far.write(pattern(600))
      yield* settle
      const writing = yield* start(far.write(pattern(5000)))
      expect(seen).toEqual([600])
      expect((yield* client.snapshot).streams[0]!.bufferedBytes).toBe(1024)
      expect(writing.unsafePoll()).toBe(null)
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(writing)
      yield* settle
      expect(seen.reduce((sum, size) => sum + size, 0)).toBe(5600)
    }))

  it.scoped("MuxSocket.fromMuxStream fails with the error of the stream as the cause", () =>
    Effect.gen(function*() {
      const { pair, running, socket } = yield* makeSocket()
      const write = yield* socket.writer
      const writing = yield* start(write(pattern(5000)))
      yield* pair.cut
      const cause = new TransportFailure({ code: 1006, reason: "" })
      expect(yield* Effect.flip(Fiber.join(running))).toMatchObject({
        reason: "Read",
        cause: new BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause })
      })
      expect(yield* Effect.flip(Fiber.join(writing))).toMatchObject({
        reason: "Write",
        cause: new BrokenPipe({ streamId: 1, operation: "write", reason: "SessionEnded", written: 1024, cause })
      })
    }))

  it.scoped("MuxSocket.fromMuxStream fails with the failure of its handler", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const socket = yield* MuxSocket.fromMuxStream(near)
      yield* far.write(bytes("x"))
      expect(yield* Effect.flip(socket.run(() => Effect.fail("handler")))).toBe("handler")
    }))

  it.scoped("MuxSocket.fromMuxStream ends its run when a CloseEvent is written, with its code", () =>
    Effect.gen(function*() {
      for (const code of [1000, 4001]) {
        const { far, running, socket } = yield* makeSocket()
        const write = yield* socket.writer
        yield* write(new Socket.CloseEvent(code, "why"))
        expect(yield* Effect.either(Fiber.join(running))).toMatchObject(
          code === 1000 ? { _tag: "Right" } : { left: { reason: "Close", code, closeReason: "why" } }
        )
        expect(text(yield* readAll(far))).toBe("")
      }
    }))

  it.scoped("MuxSocket.fromMuxStream takes no chunk when its run is interrupted", () =>
    Effect.gen(function*() {
      const { far, near, running } = yield* makeSocket()
      yield* Fiber.interrupt(running)
      yield* far.write(bytes("for the next one"))
      yield* far.end
      expect(text(yield* readAll(near))).toBe("for the next one")
    }))
})

describe("MuxSocket.fromSession", () => {
  it.scoped("MuxSocket.fromSession opens a stream for each run, and closes the stream after the run", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const context = yield* Layer.build(MuxSocket.layer()).pipe(Effect.provideService(Session.StreamOpener, client))
      const socket = yield* Effect.provide(Socket.Socket, context)
      for (const id of [1, 3]) {
        const opened: Array<string> = []
        const running = yield* start(socket.run(() => {}, { onOpen: Effect.sync(() => opened.push("open")) }))
        const far = yield* server.accept
        yield* settle
        expect([far.id, opened]).toEqual([id, ["open"]])
        yield* far.end
        yield* Fiber.join(running)
        expect(text(yield* readAll(far))).toBe("")
      }
      expect((yield* client.snapshot).streams).toEqual([])
      yield* client.close
      expect(yield* Effect.flip(socket.run(() => {}))).toMatchObject({
        reason: "Open",
        cause: new SessionClosed({ by: "local", code: 1000, reason: "" })
      })
    }))

  it.scoped("MuxSocket.fromSession keeps a waiting write for the next run when a run ends at once", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const socket = yield* MuxSocket.fromSession(client)
      yield* Effect.fork(server.run((stream) => Stream.run(stream.readable, stream.writable)))
      const write = yield* socket.writer
      const writing = yield* start(write("hello"))
      expect(yield* Effect.exit(socket.run(() => {}, { onOpen: Effect.die("enough") }))).toMatchObject({
        _tag: "Failure"
      })
      yield* settle
      expect(writing.unsafePoll()).toBe(null)
      const echoed = yield* Deferred.make<string>()
      yield* Effect.fork(socket.run((chunk) => Deferred.succeed(echoed, text(chunk))))
      expect(yield* Deferred.await(echoed).pipe(within(patience, "the echo"))).toBe("hello")
    }))

  it.scoped("MuxSocket.makeServer runs until the session ends, and fails with its error", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const context = yield* Layer.build(MuxSocket.layerServer).pipe(
        Effect.provideService(Session.StreamAcceptor, server)
      )
      const sockets = yield* Effect.provide(SocketServer.SocketServer, context)
      expect(sockets.address._tag).toBe("UnixAddress") // there is no better word for what is not an address
      const serving = yield* start(sockets.run((socket) =>
        Effect.scoped(Effect.flatMap(socket.writer, (write) => socket.run((chunk) => write(`${text(chunk)}!`))))
      ))
      const answers = yield* Effect.forEach(["a", "b"], (name) =>
        Effect.scoped(Effect.gen(function*() {
          const stream = yield* client.open()
          yield* stream.write(bytes(name))
          yield* settle
          yield* stream.end
          return text(yield* readAll(stream))
        })), { concurrency: 2 })
      expect(answers).toEqual(["a!", "b!"])
      yield* client.close
      expect(yield* Effect.flip(Fiber.join(serving))).toMatchObject({
        reason: "Unknown",
        cause: { _tag: "SessionClosed" }
      })
    }))
})

class Procedures extends RpcGroup.make(
  Rpc.make("Double", { payload: { n: Schema.Number }, success: Schema.Number }),
  Rpc.make("Count", { payload: { to: Schema.Number }, success: Schema.Number, stream: true })
) {}

describe("MuxSocket with RPC", () => {
  /** Serves the procedures over the streams that the peer opens. */
  const serve = (session: Session.Session, counted: Ref.Ref<number>) =>
    RpcServer.layer(Procedures).pipe(
      Layer.provide(Procedures.toLayer({
        Double: ({ n }) => Effect.succeed(2 * n),
        Count: ({ to }) =>
          Stream.range(1, to).pipe(Stream.rechunk(1), Stream.tap(() => Ref.update(counted, (n) => n + 1)))
      })),
      Layer.provide(RpcServer.layerProtocolSocketServer),
      Layer.provide(MuxSocket.layerServer),
      Layer.provide(Layer.succeed(Session.StreamAcceptor, session))
    )

  const call = (session: Session.Session, serialization: Layer.Layer<RpcSerialization.RpcSerialization>) =>
    RpcClient.layerProtocolSocket().pipe(
      Layer.provide(MuxSocket.layer()),
      Layer.provide(Layer.succeed(Session.StreamOpener, session)),
      Layer.provide(serialization),
      Layer.build,
      Effect.flatMap((context) => Effect.provide(RpcClient.make(Procedures), context))
    )

  for (
    const [name, serialization] of [["Ndjson", RpcSerialization.layerNdjson], [
      "MsgPack",
      RpcSerialization.layerMsgPack
    ]] as const
  ) {
    it.scopedLive(`RPC calls plain and streaming procedures both ways at once, in ${name}`, () =>
      Effect.gen(function*() {
        const sessions = yield* makeSessions(plainly())
        const counted = yield* Ref.make(0)
        for (const session of [sessions.client, sessions.server]) {
          yield* Layer.launch(Layer.provide(serve(session, counted), serialization)).pipe(Effect.forkScoped)
        }
        const both = yield* Effect.forEach(
          [sessions.client, sessions.server],
          (session) => call(session, serialization)
        )
        const results = yield* Effect.forEach(both, (procedures) =>
          Effect.all({
            doubles: Effect.forEach([1, 2, 3], (n) => procedures.Double({ n }), { concurrency: 3 }),
            sum: Stream.runSum(procedures.Count({ to: 500 }))
          }, { concurrency: 2 }), { concurrency: 2 })
        expect(results).toEqual(both.map(() => ({ doubles: [2, 4, 6], sum: 125_250 })))
      }))
  }

  it.scopedLive("RPC holds the producer back when the consumer is slow", () =>
    Effect.gen(function*() {
      const sessions = yield* makeSessions(plainly())
      const counted = yield* Ref.make(0)
      yield* Layer.launch(Layer.provide(serve(sessions.server, counted), RpcSerialization.layerNdjson)).pipe(
        Effect.forkScoped
      )
      const procedures = yield* call(sessions.client, RpcSerialization.layerNdjson)
      const first = yield* procedures.Count({ to: 1_000_000 }).pipe(Stream.take(1), Stream.runHead)
      expect(first).toMatchObject({ value: 1 })
      expect(yield* Ref.get(counted)).toBeLessThan(1000)
    }))
})
