import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type * as Http from "node:http"
import { type Address, format } from "../Address.js"
import * as NodeTransportServer from "../NodeTransportServer.js"
import * as SessionServer from "../SessionServer.js"
import * as SharedLimits from "../SharedLimits.js"
import * as TcpTunnel from "../TcpTunnel.js"
import { TransportServer } from "../TransportServer.js"
import * as Endpoint from "./endpoint.js"
import { forwarding } from "./forward.js"
import * as RareWarning from "./rareWarning.js"
import * as Refusals from "./refusals.js"
import { attend, maxStreams, report, settings } from "./session.js"
import * as Tcp from "./tcp.js"
import { authorize } from "./token.js"

const Place = Schema.Struct({ host: Schema.String, port: Schema.Number })

/** The work of `wsmux serve`, with a form in JSON that a parent sends to its workers. */
export const Task = Schema.Struct({
  listen: Place,
  target: Place,
  bufferSize: Schema.Number,
  keepAlive: Schema.Duration,
  tcpKeepAlive: Schema.Duration,
  token: Schema.Option(Schema.Redacted(Schema.String)),
  tls: Schema.Option(Schema.Struct({ cert: Schema.String, key: Schema.String })),
  stats: Schema.Option(Schema.Duration)
})

export type Task = typeof Task.Type

/**
 * Accepts sessions, and connects each of their streams to the target. Calls `onListening` once. The given server gets
 * its connections from elsewhere; without it this function listens.
 */
export const serving = (
  task: Task,
  onListening: (address: Address) => Effect.Effect<void>,
  server?: Http.Server
) =>
  Effect.scoped(Effect.gen(function*() {
    const target = Endpoint.format(task.target)
    const transports = yield* NodeTransportServer.make({
      ...task.listen,
      server,
      tls: task.tls._tag === "Some" ? task.tls.value : undefined,
      allowedOrigins: [], // by DNS rebinding a page of any host would have our origin
      authorize: authorize(task.token),
      onRejected: Refusals.make()
    })
    const sessions = yield* Effect.provideService(SessionServer.make(), TransportServer, transports)
    const warn = RareWarning.make()
    yield* onListening(sessions.address)
    return yield* sessions.run((session) =>
      Effect.gen(function*() {
        yield* Effect.logInfo("client connected")
        const fork = Runtime.runFork(yield* Effect.runtime<never>())
        const tunnel = TcpTunnel.serve(session, {
          ...yield* forwarding,
          connect: () => Tcp.dial(task.target, task.tcpKeepAlive),
          onUnreachable: ({ detail }) => fork(warn(() => `cannot reach ${target}: ${detail}`))
        })
        const streams = yield* Effect.fork(Effect.ignore(tunnel))
        yield* Effect.forkScoped(report(session, task.stats))
        const cause = yield* attend(session.awaitClosed, session, Fiber.await(streams))
        yield* Effect.logInfo(`client disconnected: ${cause.message}`)
      }).pipe(Effect.annotateLogs("peer", format(session.remoteAddress)))
    )
  })).pipe(Effect.provide(Layer.merge(settings(task), limits)))

/**
 * Half of the streams may belong to one client. A connection of the tunnel takes 8 KiB of heap (the row `idle` of the
 * benchmark), a third of what the defaults assume for a handler of a program.
 */
const limits = SharedLimits.layer({ maxStreams: 2 * maxStreams })
