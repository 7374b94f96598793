import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { concat } from "./bytes.js"

export interface Options {
  readonly client?: SessionConfig.PartialSettings
  readonly server?: SessionConfig.PartialSettings
  readonly link?: MemoryTransport.Options
}

/** The sessions of tests offer the dialect, unless a test says otherwise. */
export const auto = { dialect: "auto" } as const

/** Both ends of a session over an in-memory pair, owned by the scope. */
export const makeSessions = (options: Options = {}) =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair(options.link)
    const client = yield* Effect.provideService(
      Session.makeClient({ ...auto, ...options.client }),
      Transport,
      pair.client
    )
    const server = yield* Effect.provideService(
      Session.makeServer({ ...auto, ...options.server }),
      Transport,
      pair.server
    )
    return { client, server, pair }
  })

/** The two ends of a stream that the client opened and the server accepted, owned by the scope. */
export const makeStreams = (options: Options = {}) =>
  Effect.gen(function*() {
    const sessions = yield* makeSessions(options)
    const [near, far] = yield* Effect.all([sessions.client.open(), sessions.server.accept], { concurrency: 2 })
    return { ...sessions, near, far }
  })

/** Runs all runnable fibers and delivers all messages on their way, without moving the clock. */
export const settle: Effect.Effect<void> = Effect.yieldNow().pipe(Effect.repeatN(200))

/** Reads all bytes up to the end. */
export const readAll = <E>(stream: { readonly readable: Stream.Stream<Uint8Array, E> }) =>
  Effect.map(Stream.runCollect(stream.readable), (chunks) => concat(Chunk.toReadonlyArray(chunks)))

/** Reads the bytes that have arrived. */
export const readSome = (stream: Pick<MuxStream, "read">) =>
  Effect.flatMap(
    stream.read,
    (chunk) => chunk._tag === "Some" ? Effect.succeed(chunk.value) : Effect.dieMessage("end of stream")
  )
