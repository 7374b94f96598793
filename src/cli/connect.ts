import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { redacted } from "../Address.js"
import * as ReconnectingSession from "../ReconnectingSession.js"
import type { Session } from "../Session.js"
import * as SessionConfig from "../SessionConfig.js"
import { ConnectFailure } from "../WsmuxError.js"
import * as Argv from "./argv.js"
import * as Reload from "./config/reload.js"
import * as Dialling from "./dialling.js"
import { ForwardFailure } from "./forwards/failure.js"
import * as Forwards from "./forwards/options.js"
import * as Stdio from "./forwards/stdio.js"
import * as Wanted from "./forwards/wanted.js"
import * as Shared from "./options.js"
import { withPlainOutput } from "./plainText.js"
import * as Proxy from "./proxy.js"
import { Redial } from "./redial.js"
import { attend, report, settings } from "./session.js"
import * as Admin from "./status/admin.js"
import * as Monitor from "./status/monitor.js"
import * as Systemd from "./systemd.js"
import { version } from "./version.js"
import * as Websocktunnel from "./websocktunnel.js"

const options = {
  url: Args.text({ name: "url" }).pipe(
    Args.withDescription("URL of wsmux serve, as ws://host:port or wss://host:port, or wss://host/NAME of wsmux relay.")
  ),
  remotes: Forwards.remotes,
  local: Forwards.local,
  remote: Forwards.remote,
  dynamic: Forwards.dynamic,
  stdio: Forwards.stdio,
  proxyProtocol: Forwards.proxyProtocol("Tell targets of -R their client's address by the PROXY protocol, version 2."),
  listen: Shared.endpoint("listen", "Accept connections for --target of the server. Port 0 takes a free port.").pipe(
    Options.optional
  ),
  websocktunnel: Websocktunnel.id,
  target: Websocktunnel.target,
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  ...Dialling.options,
  tcpKeepAlive: Shared.tcpKeepAlive,
  reconnect: Options.boolean("reconnect").pipe(
    Options.withDescription(
      "Dial again when the connection is lost, at once where a local connection waits."
    )
  ),
  maxReconnectInterval: Shared.maxReconnectInterval,
  allowAnonymous: Shared.allowAnonymous,
  config: Shared.config,
  admin: Shared.admin,
  stats: Shared.stats
}

const parser = Command.make("connect", options)

type Given = Effect.Effect.Success<typeof parser>

/** Parses the arguments of this command. */
const parse = (args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const prepared = yield* Either.match(Argv.prepare([subcommand], args), {
      onLeft: Shared.usage,
      onRight: Effect.succeed
    })
    const parsed = yield* Deferred.make<Given>()
    const capturing = Command.withHandler(parser, (given) => Deferred.succeed(parsed, given))
    const run = Command.run(Command.make("wsmux").pipe(Command.withSubcommands([capturing])), {
      name: "wsmux",
      version
    })
    yield* withPlainOutput(run(["node", "wsmux", ...prepared]))
    return yield* Deferred.await(parsed)
  })

const subcommand: Argv.Subcommand = { name: "connect", usage: Command.getUsage(parser) }

/** The keys of a configuration file that change at run time. */
const changing = ["local", "remote", "dynamic", "remotes", "listen", "allow-anonymous"]

/** Accepts connections, and opens a stream of one WebSocket for each. */
export const connect = Command.withHandler(parser, (given) =>
  Effect.scoped(Effect.gen(function*() {
    const { websocktunnel } = given
    const { dial, reached } = Option.isSome(websocktunnel)
      ? yield* Websocktunnel.dialOf(given, websocktunnel.value)
      : yield* Dialling.dialOf(given)
    const wanted = Option.isSome(websocktunnel)
      ? yield* Websocktunnel.wanted(given)
      : yield* Wanted.of(given, reached)
    if (!given.reconnect && Option.isSome(given.maxReconnectInterval)) {
      return yield* Shared.usage("--max-reconnect-interval: expected --reconnect beside it")
    }
    const redial = new Redial(Option.getOrElse(given.maxReconnectInterval, () => Duration.seconds(30)))
    // ssh shows the log of its ProxyCommand
    const inform = Option.isSome(wanted.stdio) ? Effect.logDebug : Effect.logInfo
    const tunnel = yield* ReconnectingSession.make({
      transport: Effect.zipRight(redial.turn, dial),
      onConnect: (session) =>
        Effect.gen(function*() {
          yield* redial.connected
          yield* inform(`connected to ${reached()}`)
          yield* Monitor.at(reached())
          yield* Monitor.session(session)
          yield* Effect.forkScoped(report(session, given.stats))
          yield* Effect.forkScoped(Effect.ignore(tellDraining(session, inform)))
          yield* wanted.prepare(session)
        }),
      // `redial` waits before each attempt, because a new local connection must cut that wait short.
      schedule: given.reconnect ? Schedule.whileInputEffect(Schedule.forever, again(redial)) : Schedule.stop,
      isHopeless: (cause, hasConnected) =>
        (cause instanceof ForwardFailure && !hasConnected) || ReconnectingSession.isHopeless(cause, hasConnected)
    })
    yield* Monitor.setReadiness(readiness(tunnel))
    yield* Admin.listen(given.admin, given.allowAnonymous, inform)
    const listeners = yield* wanted.listeners(tunnel, () => redial.hurry())
    const working = Effect.gen(function*() {
      yield* tunnel.current // the ports open after the first session has begun
      yield* listeners.listen
      yield* Systemd.ready
      if (Option.isSome(wanted.stdio)) return yield* Stdio.join(tunnel, wanted.stdio.value)
      if (Option.isNone(websocktunnel)) {
        yield* Reload.follow({ subcommand, changing, parse, change: listeners.change })
      }
      return yield* Effect.zipLeft(tunnel.awaitClosed, drained(tunnel))
    }).pipe(
      Effect.catchTag("NotConnected", Effect.succeed),
      Effect.onInterrupt(() => Systemd.stopping)
    )
    const lost = yield* attend(working, tunnel, listeners.awaitEmpty)
    if (lost === undefined) return
    const { cause, defect } = lost
    if (!(cause instanceof ConnectFailure)) return yield* Effect.fail(cause ?? defect)
    return yield* Effect.fail(new Error(Dialling.explain(cause, given)))
  })).pipe(
    Monitor.around(Option.isSome(given.admin), { command: "connect", address: redacted(given.url) }),
    Effect.provide(settings(given, Option.isSome(given.websocktunnel) ? SessionConfig.websocktunnel : {}))
  )).pipe(
    Command.withDescription(
      "Accept connections here, at the server by -R, or by a proxy, and carry each as a stream of one WebSocket."
    )
  )

/** Whether there is a session with a WebSocket. A session that waits for its next WebSocket carries nothing. */
const readiness = (
  { state }: ReconnectingSession.Service<{ readonly message: string }>
): Effect.Effect<Monitor.Readiness> =>
  Effect.flatMap(state.get, (state) => {
    switch (state._tag) {
      case "Connected":
        return Effect.map(state.session.snapshot, ({ resumption }) =>
          resumption?.state === "suspended"
            ? { ready: false, text: "suspended: the WebSocket is lost, and dialled again" }
            : { ready: true, text: "connected" })
      case "Connecting":
        return Effect.succeed({ ready: false, text: state.cause?.message ?? "connecting" })
      case "Closed":
        return Effect.succeed({ ready: false, text: state.cause.message })
    }
  })

/** Tells that the server lets this client go. The tunnel dials its next session then. */
const tellDraining = (session: Session, inform: (message: string) => Effect.Effect<void>) =>
  Effect.flatMap(
    session.awaitDraining,
    ({ graceMillis }) =>
      inform(`the server takes no more connections, and ends those that run within ${Math.ceil(graceMillis / 1000)} s`)
  )

/** Waits until no connection is left of a session whose server drained it. */
const drained = (tunnel: ReconnectingSession.Service): Effect.Effect<unknown> =>
  Stream.runHead(Stream.filter(tunnel.state.changes, ({ draining }) => draining.length === 0))

/** The longest wait in milliseconds that a `ReconnectingSession` grants to a server's `Retry-After`. */
const maxRetryAfter = 3_600_000

/** Sets the wait before the next attempt, and logs the wait and its reason. The server's `Retry-After` is added. */
const again =
  (redial: Redial) => (loss: ConnectFailure | ForwardFailure | ReconnectingSession.Loss): Effect.Effect<boolean> =>
    Effect.flatMap(redial.lost, (millis) => {
      const asked = loss._tag === "ConnectFailure" ? loss.retryAfterMillis ?? 0 : 0
      const seconds = (millis + Math.min(asked, maxRetryAfter)) / 1000
      const why = Proxy.messageOf(loss)
      return Effect.as(Effect.logWarning(`${why}; the next attempt is in ${seconds.toFixed(1)} s`), true)
    })
