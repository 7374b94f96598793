import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Session from "../Session.js"
import { Transport } from "../Transport.js"
import { ConnectFailure } from "../WsmuxError.js"
import * as WsTransport from "../WsTransport.js"
import { bridge } from "./bridge.js"
import * as Endpoint from "./endpoint.js"
import * as Shared from "./options.js"
import { attend, settings } from "./session.js"
import * as Tcp from "./tcp.js"

const options = {
  url: Args.text({ name: "url" }).pipe(Args.withDescription("The WebSocket of `wsmux serve`, as ws:// or wss://.")),
  listen: Shared.endpoint("listen", "Where to accept TCP connections; port 0 for any free one."),
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  token: Shared.token("The bearer token to show; also WSMUX_TOKEN."),
  tlsCa: Shared.file("tls-ca", "Certificate authority (PEM) to trust instead of the usual ones."),
  reconnect: Options.boolean("reconnect").pipe(
    Options.withDescription("Dial again, at growing intervals, whenever the connection is lost.")
  ),
  allowAnonymous: Shared.allowAnonymous,
  stats: Shared.stats
}

/** Listens for TCP connections, and opens a stream for each. */
export const connect = Command.make("connect", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    yield* Shared.refuseStrangers(given.listen, given.allowAnonymous, "")
    const dialling = yield* dialOptions(given.token, given.tlsCa)
    const current = yield* SubscriptionRef.make(Option.none<Session.Session>())
    const attempt = Effect.flatMap(WsTransport.connect(given.url, dialling), (transport) =>
      Effect.provideService(Session.makeClient(), Transport, transport))
    const dial = given.reconnect
      ? attempt.pipe(
        Effect.tapError((error) =>
          mayPass(error) ? Effect.logWarning(error.message) : Effect.void
        ),
        Effect.retry({ schedule: backOff, while: mayPass })
      )
      : attempt
    // The first session comes first: nobody shall connect to a tunnel that leads nowhere.
    const round = Effect.gen(function*() {
      const session = yield* dial
      yield* Effect.logInfo("connected")
      yield* SubscriptionRef.set(current, Option.some(session))
      const cause = yield* attend(session, given.stats).pipe(
        Effect.ensuring(SubscriptionRef.set(current, Option.none()))
      )
      if (!given.reconnect) return yield* cause
      yield* Effect.logWarning(cause.message)
    }).pipe(Effect.scoped)
    const rounds = round.pipe(Effect.zipRight(Effect.sleep(shortest)), Effect.forever)
    const listening = Effect.gen(function*() {
      yield* nextSession(current)
      const address = yield* Tcp.listen(given.listen, (socket) => forward(current, socket))
      yield* Console.log(`listening on ${Endpoint.format(address)}, forwarding through ${given.url}`)
      return yield* Effect.never
    })
    return yield* Effect.raceFirst(rounds, listening)
  })).pipe(Effect.provide(settings(given)))).pipe(
    Command.withDescription("Accept TCP connections, and open a stream of one WebSocket for each.")
  )

type Current = SubscriptionRef.SubscriptionRef<Option.Option<Session.Session>>

/** The session there is, which costs next to nothing, or the next one. */
const awaitSession = (current: Current): Effect.Effect<Session.Session, Tcp.TcpFailure> =>
  Effect.flatMap(SubscriptionRef.get(current), (session) =>
    Option.isSome(session)
      ? Effect.succeed(session.value)
      : Effect.timeoutFail(nextSession(current), {
        duration: Duration.seconds(30), // as long as an open may take
        onTimeout: () => new Tcp.TcpFailure({ message: "there is no connection to the server" })
      }))

const nextSession = (current: Current): Effect.Effect<Session.Session> =>
  current.changes.pipe(
    Stream.filterMap((session) => session),
    Stream.runHead,
    Effect.flatten,
    Effect.orDie
  )

const forward = (current: Current, socket: Tcp.TcpSocket) =>
  awaitSession(current).pipe(
    Effect.flatMap((session) => session.open()),
    Effect.tapError((error) => Effect.logWarning(`a connection cannot be forwarded: ${error.message}`)),
    Effect.flatMap((stream) => bridge(stream, socket)),
    Effect.catchAll((error) => Effect.logDebug(`a connection broke: ${error.message}`)),
    Effect.scoped
  )

const dialOptions = (token: Option.Option<Redacted.Redacted>, ca: Option.Option<string>) =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    return {
      headers: Option.isSome(token) ? { authorization: `Bearer ${Redacted.value(token.value)}` } : undefined,
      tls: Option.isSome(ca) ? { ca: yield* files.readFileString(ca.value) } : undefined
    }
  })

const shortest = Duration.millis(500)

/** Twice as long after each failure, up to half a minute, and jittered so that many clients do not come as one. */
const backOff = Schedule.exponential(shortest).pipe(
  Schedule.union(Schedule.spaced(Duration.seconds(30))),
  Schedule.jittered
)

/** Whether trying again may help: a server that refuses us, or an address that is none, will not change its mind. */
const mayPass = (error: unknown): boolean =>
  error instanceof ConnectFailure && error.reason !== "InvalidUrl" &&
  !(error.reason === "Rejected" && error.status !== undefined && error.status < 500)
