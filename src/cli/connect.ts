import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { X509Certificate } from "node:crypto"
import { redacted } from "../Address.js"
import * as ByteStream from "../ByteStream.js"
import * as ReconnectingSession from "../ReconnectingSession.js"
import {
  ConnectFailure,
  type DuplexFailure,
  type NotConnected,
  type OpenError,
  type TerminalError
} from "../WsmuxError.js"
import * as WsTransport from "../WsTransport.js"
import * as Endpoint from "./endpoint.js"
import * as Shared from "./options.js"
import { attend, report, settings } from "./session.js"
import * as Tcp from "./tcp.js"
import { bearer } from "./token.js"

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
    yield* Shared.refuseStrangers(given.listen, given.allowAnonymous, "give ")
    const dialling = yield* dialOptions(given.url, given.token, given.tlsCa)
    const tunnel = yield* ReconnectingSession.make({
      transport: () => WsTransport.connect(given.url, dialling),
      connected: (session) =>
        Effect.zipRight(
          Effect.logInfo(`connected to ${redacted(given.url)}`),
          Effect.forkScoped(report(session, given.stats))
        ),
      schedule: given.reconnect ? untilHopeless : Schedule.stop
    })
    const connections = yield* FiberSet.make<void>()
    const working = Effect.gen(function*() {
      yield* tunnel.current // nobody shall connect to a tunnel that leads nowhere
      const address = yield* Tcp.listen(given.listen, connections, (socket) => forward(tunnel, socket))
      yield* Console.log(`listening on ${Endpoint.format(address)}, forwarding through ${redacted(given.url)}`)
      return yield* tunnel.awaitClosed
    }).pipe(Effect.catchTag("NotConnected", Effect.succeed))
    const { cause } = yield* attend(working, tunnel, FiberSet.awaitEmpty(connections))
    const isMistyped = cause instanceof ConnectFailure && cause.reason === "InvalidUrl"
    return yield* (isMistyped ? Shared.usage(cause.message) : Effect.fail(cause))
  })).pipe(Effect.provide(settings(given)))).pipe(
    Command.withDescription("Accept TCP connections, and open a stream of one WebSocket for each.")
  )

const forward = (tunnel: ReconnectingSession.ReconnectingSession, socket: ByteStream.ByteStream<DuplexFailure>) =>
  tunnel.open().pipe(
    Effect.tapError((error) =>
      isOurs(error) ? Effect.void : Effect.logWarning(`a connection cannot be forwarded: ${error.message}`)
    ),
    Effect.flatMap((stream) => ByteStream.join(stream, socket)),
    Effect.catchAll((error) => Effect.logDebug(`a connection broke: ${error.message}`)),
    Effect.scoped
  )

/** Whether it is only because we are closing. */
const isOurs = (error: OpenError | NotConnected): boolean =>
  (error._tag === "NotConnected" && error.reason === "Closed") ||
  (error._tag === "SessionClosed" && error.by === "local")

const dialOptions = (url: string, token: Option.Option<Redacted.Redacted>, ca: Option.Option<string>) =>
  Effect.gen(function*() {
    const headers = Option.isSome(token) ? { authorization: bearer(token.value) } : undefined
    if (Option.isNone(ca)) return { headers }
    if (!/^wss:/i.test(url)) return yield* Shared.usage("--tls-ca goes with a wss:// address")
    const authority = yield* Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(ca.value))
    // node:tls overlooks what it cannot read, and then trusts nobody
    yield* Effect.try({
      try: () => new X509Certificate(authority),
      catch: () => `${ca.value} holds no certificate (PEM)`
    }).pipe(Effect.catchAll(Shared.usage))
    return { headers, tls: { ca: authority } }
  })

/** Whether trying again may help: a server that refuses us, or an address that is none, will not change its mind. */
const mayPass = (error: ConnectFailure | TerminalError): boolean =>
  error._tag !== "ConnectFailure" || (
    error.reason !== "InvalidUrl" && !(error.reason === "Rejected" && error.status !== undefined && error.status < 500)
  )

const untilHopeless = ReconnectingSession.defaultSchedule.pipe(
  Schedule.whileInput(mayPass),
  Schedule.tapInput((error: ConnectFailure | TerminalError) =>
    mayPass(error) ? Effect.logWarning(error.message) : Effect.void
  )
)
