import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as WsTransport from "effect-wsmux/WsTransport"
import * as WsTransportServer from "effect-wsmux/WsTransportServer"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Source } from "../content.js"
import type { Settings } from "../options.js"
import { type Peer, PingPong, type Role } from "./peer.js"

/** Writes that a program has at hand at a time, as Node's streams take them up to a high-water mark. */
const burst = 64 * 1024

const config = ({ maxWindow, window }: Settings) =>
  SessionConfig.layer(maxWindow === undefined ? { streamBufferSize: window } : { maxStreamBufferSize: maxWindow })

const write = (stream: MuxStream, source: Source) =>
  Stream.fromIteratorSucceed(
    source[Symbol.iterator]() as IterableIterator<Uint8Array>,
    Math.max(1, Math.floor(burst / source.size))
  ).pipe(Stream.run(stream.writable))

const read = (stream: MuxStream, take: (chunk: Uint8Array) => void) =>
  Stream.runForEachChunk(stream.readable, (chunks) => Effect.sync(() => Chunk.forEach(chunks, (chunk) => take(chunk))))

const serve = (stream: MuxStream, role: Role) => {
  if (role === "echo") return Stream.run(stream.readable, stream.writable)
  const service = role()
  return Effect.zipRight(read(stream, service.take), Effect.suspend(() => write(stream, service.answer())))
}

export const ours: Peer = {
  about: ({ maxWindow, window }) =>
    maxWindow === undefined
      ? `window ${window >> 10} KiB`
      : `window ${SessionConfig.defaults.streamBufferSize} bytes, auto-tuned to ${maxWindow >> 10} KiB`,
  listen: async (roles, settings) => {
    const runtime = ManagedRuntime.make(
      SessionServer.layer().pipe(Layer.provide(WsTransportServer.layer()), Layer.provide(config(settings)))
    )
    const server = await runtime.runPromise(SessionServer.SessionServer)
    runtime.runFork(server.run((session) => {
      let streams = 0
      if (roles === "hold") return Effect.forever(session.accept)
      return session.run((stream) => serve(stream, roles(streams++)))
    }))
    if (server.address._tag !== "TcpAddress") throw new Error("no port")
    return server.address.port
  },
  connect: async (url, settings) => {
    const runtime = ManagedRuntime.make(
      Session.layerClient().pipe(Layer.provide(WsTransport.layer(url)), Layer.provide(config(settings)))
    )
    const session = await runtime.runPromise(Session.Session)
    const scope = Effect.runSync(Scope.make())
    return {
      multiplexes: true,
      exchange: (request, take) =>
        runtime.runPromise(Effect.scoped(Effect.gen(function*() {
          const stream = yield* session.open()
          yield* write(stream, request)
          yield* read(stream, take)
        }))),
      pingPong: (message, onRoundTrip) =>
        runtime.runPromise(Effect.scoped(Effect.gen(function*() {
          const stream = yield* session.open()
          const game = new PingPong(message, onRoundTrip)
          yield* stream.write(message)
          for (;;) {
            const next = game.take(Option.getOrThrow(yield* stream.read))
            if (next === "again") yield* stream.write(message)
            else if (next === "stop") break
          }
          yield* stream.end
        }))),
      hold: () => runtime.runPromise(Effect.asVoid(Scope.extend(session.open(), scope)))
    }
  }
}
