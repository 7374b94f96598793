import * as ByteStream from "effect-wsmux/ByteStream"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { Source } from "../content.js"
import type { Settings } from "../options.js"
import { type Peer, PingPong, type Role } from "./peer.js"

/** The number of writes that a program hands over at a time, as to a stream of Node with a high-water mark. */
const burst = 64 * 1024

/** W5 opens 10,000 streams, beyond the defaults, and more than half of the shared limit is not for one session. */
const manyStreams = 40_000

const limits = SharedLimits.layer({ maxStreams: manyStreams })

const config = ({ maxWindow, window }: Settings, dialect: "auto" | "off") =>
  SessionConfig.layer({
    dialect,
    maxStreams: manyStreams,
    ...maxWindow === undefined ? { streamBufferSize: window } : { maxStreamBufferSize: maxWindow }
  })

/** The reads and writes of a program. */
interface Style {
  readonly write: (stream: MuxStream, source: Source) => Effect.Effect<void, unknown>
  readonly read: (stream: MuxStream, take: (chunk: Uint8Array) => void) => Effect.Effect<void, unknown>
  readonly echo: (stream: MuxStream) => Effect.Effect<void, unknown>
  /** Writes to the end, and then reads to the end, when the two functions above do not do so. */
  readonly exchange?: (
    stream: MuxStream,
    request: Source,
    take: (chunk: Uint8Array) => void
  ) => Effect.Effect<unknown, unknown>
  /** The same with a stream that this function opens. */
  readonly ask?: (
    session: Session.Session,
    request: Source,
    take: (chunk: Uint8Array) => void
  ) => Effect.Effect<void, unknown>
}

/** Streams and sinks of Effect. */
export const streams: Style = {
  write: (stream, source) =>
    Stream.fromIteratorSucceed(
      source[Symbol.iterator]() as IterableIterator<Uint8Array>,
      Math.max(1, Math.floor(burst / source.size))
    ).pipe(Stream.run(stream.writable)),
  read: (stream, take) =>
    Stream.run(
      stream.readable,
      Sink.foldLeftChunks<void, Uint8Array>(void 0, (_, chunks) => Chunk.forEach(chunks, (chunk) => take(chunk)))
    ),
  echo: (stream) => Stream.run(stream.readable, stream.writable)
}

const forEach = (stream: MuxStream, f: (chunk: Uint8Array) => Effect.Effect<void, unknown>) =>
  Effect.gen(function*() {
    for (;;) {
      const chunk = yield* stream.read
      if (Option.isNone(chunk)) return
      yield* f(chunk.value)
    }
  })

/** The plain operations, which cost less to start. */
const operations: Style = {
  write: (stream, source) =>
    Effect.gen(function*() {
      for (const chunk of source) yield* stream.write(chunk)
      yield* stream.end
    }),
  read: (stream, take) => forEach(stream, (chunk) => Effect.sync(() => take(chunk))),
  echo: (stream) => Effect.zipRight(forEach(stream, stream.write), stream.end)
}

/**
 * The operations for whole answers, which cost the least to start.
 *
 * @param early whether the first bytes leave with the open
 */
const wholeAnswers = (early: boolean): Style => ({
  ...operations,
  echo: (stream) => Effect.zipRight(ByteStream.forEach(stream, stream.write), stream.end),
  ask: (session, request, take) =>
    Session.withStream(session, (stream) => {
      const chunks = [...request]
      return Effect.zipRight(
        ByteStream.writeEnd(stream, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)),
        Effect.map(ByteStream.readAll(stream, { maxBytes: Infinity }), take)
      )
    }, { early })
})

const answers = wholeAnswers(false)

const emptyRun = Stream.run(Stream.empty, Sink.fromChannel(Channel.void))

/** The same beside runs of an Effect `Stream` without elements: the most that `readable` and `writable` can reach. */
const emptyRuns: Style = {
  ...answers,
  echo: (stream) => Effect.zipRight(emptyRun, answers.echo(stream)),
  ask: (session, request, take) =>
    Effect.zipRight(Effect.zipRight(emptyRun, emptyRun), answers.ask!(session, request, take))
}

const serve = ({ echo, read, write }: Style, stream: MuxStream, role: Role) => {
  if (role === "echo") return echo(stream)
  const service = role()
  return Effect.zipRight(read(stream, service.take), Effect.suspend(() => write(stream, service.answer())))
}

/** How both ends run their sessions. */
interface Ways {
  /** Whether the session can go on over another WebSocket. */
  readonly resume?: boolean
  readonly dialect?: "auto" | "off"
}

export const make = (style: Style, { dialect = "auto", resume = false }: Ways = {}): Peer => ({
  about: ({ maxWindow, window }) =>
    maxWindow === undefined
      ? `window ${window >> 10} KiB`
      : `window ${SessionConfig.defaults.streamBufferSize} bytes, auto-tuned to ${maxWindow >> 10} KiB`,
  listen: async (roles, settings) => {
    const runtime = ManagedRuntime.make(
      SessionServer.layer(undefined, { resume }).pipe(
        Layer.provide(NodeTransportServer.layer()),
        Layer.provide(config(settings, dialect)),
        Layer.provide(limits)
      )
    )
    const server = await runtime.runPromise(SessionServer.SessionServer)
    runtime.runFork(server.run((session) => {
      let count = 0
      if (roles === "hold") return Effect.forever(session.accept)
      return session.run((stream) => serve(style, stream, roles(count++)))
    }))
    if (server.address._tag !== "TcpAddress") throw new Error("no port")
    return server.address.port
  },
  connect: async (url, settings) => {
    const transport = resume ? ResumableTransport.layer(NodeTransport.connect(url)) : NodeTransport.layer(url)
    const runtime = ManagedRuntime.make(
      Session.layerClient().pipe(
        Layer.provide(transport),
        Layer.provide(config(settings, dialect)),
        Layer.provide(limits)
      )
    )
    const session = await runtime.runPromise(Session.Session)
    const scope = Effect.runSync(Scope.make())
    return {
      multiplexes: true,
      exchange: (request, take) =>
        runtime.runPromise(
          style.ask?.(session, request, take) ?? Effect.scoped(Effect.gen(function*() {
            const stream = yield* session.open()
            if (style.exchange !== undefined) return yield* Effect.asVoid(style.exchange(stream, request, take))
            yield* style.write(stream, request)
            yield* style.read(stream, take)
          }))
        ),
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
})

export const ours = make(streams)
export const plain = make(operations)
export const whole = make(answers)
export const early = make(wholeAnswers(true))
export const floor = make(emptyRuns)
export const resuming = make(streams, { resume: true })
export const withoutDialect = make(streams, { dialect: "off" })
