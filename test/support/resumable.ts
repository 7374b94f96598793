import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as ResumeServer from "effect-wsmux/ResumeServer"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import type { UpgradeRequest } from "effect-wsmux/TransportServer"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { FaultProxy } from "../robustness/faults/proxy.js"
import { auto, settle } from "./sessions.js"

export interface Options {
  readonly link?: MemoryTransport.Options
  readonly client?: SessionConfig.PartialSettings
  readonly server?: SessionConfig.PartialSettings
  readonly resume?: ResumeServer.Options<string | undefined>
  readonly transport?: ResumableTransport.Options
  /** Whether the requests tell that they resume, as those of Node do. Default true; those of a page do not. */
  readonly tells?: boolean
}

/** A server in memory whose sessions can be resumed, and the means to lose the connections to it. */
export const makeServer = (options: Options = {}) =>
  Effect.gen(function*() {
    const transports = yield* MemoryTransport.makeServer<never, string | undefined>({
      ...options.link,
      authorize: ({ headers }) => Effect.succeed(headers["x-user"] as string | undefined)
    })
    const resuming = yield* ResumeServer.make(options.resume)
    const run: typeof transports.run = (handler) =>
      transports.run((transport, connection) => resuming.accept(transport, connection, handler)) as never
    const server = yield* SessionServer.fromTransportServer({ ...transports, run }, { ...auto, ...options.server })
    const accepted = yield* Queue.unbounded<Session.Session<string | undefined>>()
    const serving = yield* Effect.forkScoped(
      server.run((session) => Effect.zipRight(Queue.offer(accepted, session), session.awaitClosed))
    )
    const links: Array<MemoryTransport.Pair> = []
    const network = { isDown: false, user: undefined as string | undefined, requests: 0 }
    const dial: Effect.Effect<Transport, ConnectFailure, Scope.Scope> = Effect.gen(function*() {
      network.requests++
      if (network.isDown) return yield* new ConnectFailure({ url: "memory:server", reason: "Unreachable" })
      const headers: Record<string, string> = {}
      if (network.user !== undefined) headers["x-user"] = network.user
      if (network.requests > 1 && options.tells !== false) headers["wsmux-resume"] = "1"
      const pair = yield* transports.connect({ headers } satisfies Partial<UpgradeRequest>)
      links.push(pair)
      return pair.client
    })
    return {
      resuming,
      /** The sessions of the server, in the order of their beginning. */
      accepted,
      serving,
      links,
      network,
      dial,
      /** Loses the current connection at both ends. */
      cut: Effect.zipRight(Effect.suspend(() => links[links.length - 1]!.cut), settle)
    }
  })

/**
 * Loses the connection of a transport after so many bytes, and each later one, four times in all: by a reset and by an
 * end, up and down.
 */
export const loseFourTimes = (
  proxy: FaultProxy,
  transport: ResumableTransport.ResumableTransport,
  bytes: number
): Effect.Effect<unknown, never, Scope.Scope> => {
  const losses = [
    () => proxy.loseAfter("up", bytes, "reset"),
    () => proxy.loseAfter("down", bytes, "reset"),
    () => proxy.loseAfter("up", bytes, "end"),
    () => proxy.loseAfter("down", bytes, "end")
  ]
  return Effect.forkScoped(
    Stream.runForEach(transport.state.changes, ({ _tag }) =>
      Effect.sync(() => {
        if (_tag === "Connected") losses.shift()?.()
      }))
  )
}

/** Both ends of a session that can be resumed. */
export const makeResumable = (options: Options = {}) =>
  Effect.gen(function*() {
    const server = yield* makeServer(options)
    const transport = yield* ResumableTransport.connect(server.dial, options.transport)
    const client = yield* Effect.provideService(
      Session.makeClient({ ...auto, ...options.client }),
      Transport,
      transport
    )
    const peer = yield* Queue.take(server.accepted)
    yield* settle
    return { ...server, transport, client, peer }
  })

/** Both ends of a stream of such a session. */
export const makeResumableStream = (options: Options = {}) =>
  Effect.gen(function*() {
    const ends = yield* makeResumable(options)
    const [near, far] = yield* Effect.all([ends.client.open(), ends.peer.accept], { concurrency: 2 })
    return { ...ends, near, far }
  })
