import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Http from "node:http"
import { type Address, format } from "../Address.js"
import * as NodeTransportServer from "../NodeTransportServer.js"
import * as SessionServer from "../SessionServer.js"
import * as SharedLimits from "../SharedLimits.js"
import * as TcpTunnel from "../TcpTunnel.js"
import * as ConfigFile from "./config/watched.js"
import { Holders } from "./forwards/away.js"
import * as Place from "./forwards/place.js"
import * as Targets from "./forwards/targets.js"
import { decide, type Policy } from "./policy/policy.js"
import * as Rule from "./policy/rule.js"
import * as RareWarning from "./rareWarning.js"
import * as Refusals from "./refusals.js"
import { rule } from "./rules/file.js"
import type { Client } from "./rules/users.js"
import { watch } from "./rules/watched.js"
import { attend, maxStreams, report, settings } from "./session.js"
import { formatSpan } from "./span.js"
import * as Monitor from "./status/monitor.js"
import * as Systemd from "./systemd.js"
import { authorize } from "./token.js"

const Endpoint = Schema.Struct({ host: Schema.String, port: Schema.Number })

const PlaceOfTask = Schema.Union(
  Schema.TaggedStruct("Port", Endpoint.fields),
  Schema.TaggedStruct("Path", { path: Schema.String })
)

/** The work of `wsmux serve`, with a form in JSON that a parent sends to its workers. */
export const Task = Schema.Struct({
  listen: Endpoint,
  target: Schema.Option(PlaceOfTask),
  /** Where streams with a label may go. */
  allow: Schema.Array(rule(Rule.parse, "a rule")),
  /** Where clients may listen. */
  allowRemote: Schema.Array(rule(Rule.parseListen, "a rule")),
  /** The rules file. */
  rules: Schema.Option(Schema.String),
  proxyProtocol: Schema.Boolean,
  bufferSize: Schema.Number,
  keepAlive: Schema.Duration,
  tcpKeepAlive: Schema.Duration,
  token: Schema.Option(Schema.Redacted(Schema.String)),
  grace: Schema.Duration,
  resume: Schema.Duration,
  tls: Schema.Option(
    Schema.Struct({ cert: Schema.String, key: Schema.String, clientCa: Schema.Option(Schema.String) })
  ),
  stats: Schema.Option(Schema.Duration),
  admin: Schema.Option(Endpoint),
  config: Schema.Option(ConfigFile.Source)
})

export type Task = typeof Task.Type

/**
 * Accepts sessions, and connects their streams to the target, or where their labels say. Calls `onListening` once. The
 * given server gets its connections from elsewhere; without it this function listens. Interruption gives up the port,
 * and lets the connections go on for the grace.
 */
export const serving = (
  task: Task,
  onListening: (address: Address) => Effect.Effect<void>,
  server?: Http.Server
) =>
  Effect.scoped(Effect.gen(function*() {
    const { target } = task
    const users = Option.isSome(task.rules) ? yield* watch(task.rules.value) : undefined
    const ofOptions = yield* policyOf(task)
    const transports = yield* NodeTransportServer.make<never, Client | void>({
      ...task.listen,
      server,
      tls: Option.getOrUndefined(Option.map(task.tls, tlsOptions)),
      allowedOrigins: [], // by DNS rebinding a page of any host would have our origin
      authorize: users?.authenticate ?? authorize(task.token),
      onRejected: Refusals.make()
    })
    // The next connection of a client may come to another worker, which does not hold its session.
    const canResume = server === undefined && isResuming(task)
    const sessions = yield* SessionServer.fromTransportServer(transports, undefined, {
      resume: canResume && { grace: task.resume }
    })
    const warn = RareWarning.make()
    const holders = new Holders()
    yield* onListening(sessions.address)
    if (Option.isSome(target)) {
      yield* Monitor.forward({
        option: "--target",
        listen: "streams without a label",
        target: Place.format(target.value)
      })
    }
    const serveEach = sessions.run((session) =>
      Effect.gen(function*() {
        yield* Effect.logInfo("client connected")
        const client = session.principal ?? undefined
        yield* Monitor.session(session, client?.user)
        const tunnel = TcpTunnel.serve(
          session,
          yield* Targets.make({
            session,
            policy: users ?? ofOptions,
            isCurrent: () => users === undefined || (client !== undefined && users.isCurrent(client)),
            user: client?.user,
            isAuthenticated: users !== undefined || Option.isSome(task.token),
            target,
            keepAlive: task.tcpKeepAlive,
            proxyProtocol: task.proxyProtocol,
            holders,
            patience: patienceOf(task),
            warn
          })
        )
        const streams = yield* Effect.fork(Effect.ignore(tunnel))
        yield* Effect.forkScoped(report(session, task.stats))
        const cause = yield* attend(session.awaitClosed, session, Fiber.await(streams))
        yield* Effect.logInfo(`client disconnected: ${cause.message}`)
      }).pipe(Effect.annotateLogs("peer", format(session.remoteAddress)))
    )
    const running = yield* Effect.forkScoped(serveEach)
    return yield* Effect.onInterrupt(Fiber.join(running), () =>
      Effect.all([
        Monitor.draining,
        Systemd.stopping,
        Effect.logInfo(`taking no more clients: connections end within ${formatSpan(task.grace)}`),
        sessions.drain({ grace: task.grace })
      ], { discard: true }))
  })).pipe(Effect.provide(Layer.merge(settings(task), limits)))

/** The policy with the rules of the options, or of the configuration file as it is now. */
const policyOf = ({ allow, allowRemote, config, rules, target }: Task) =>
  Effect.gen(function*() {
    const given = { connect: allow, listen: allowRemote }
    const current = Option.isSome(config)
      ? yield* ConfigFile.follow(config.value, Option.isNone(rules) ? Option.some(given) : Option.none())
      : () => given
    const fixed = Option.toArray(Option.map(target, Rule.only))
    const policy: Policy = {
      decide: (_user, target) => {
        const { connect, listen } = current()
        return decide({ connect: [...connect, ...fixed], listen }, target)
      }
    }
    return policy
  })

/** Whether clients may resume their sessions at a server of one process. */
export const isResuming = ({ resume }: Pick<Task, "resume">): boolean => !Duration.equals(resume, Duration.zero)

/** Two intervals of the keep-alive: a client that is away for longer is dead, or on its way. */
const patienceOf = ({ keepAlive }: Task): Duration.Duration =>
  Duration.isFinite(keepAlive) ? Duration.times(keepAlive, 2) : Duration.seconds(20)

/**
 * Half of the streams may belong to one client. A connection of the tunnel takes 8 KiB of heap (the row `idle` of the
 * benchmark), a third of what the defaults assume for a handler of a program.
 */
const limits = SharedLimits.layer({ maxStreams: 2 * maxStreams })

/** Clients may show a certificate. `authorize` decides whether they need one. */
export const tlsOptions = ({ cert, clientCa, key }: {
  readonly cert: string
  readonly key: string
  readonly clientCa: Option.Option<string>
}) => ({
  cert,
  key,
  ...(Option.isSome(clientCa) ? { ca: clientCa.value, requestCert: true, rejectUnauthorized: false } : {})
})
