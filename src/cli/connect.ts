import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import { X509Certificate } from "node:crypto"
import type * as Net from "node:net"
import { redacted } from "../Address.js"
import * as NodeTransport from "../NodeTransport.js"
import * as ReconnectingSession from "../ReconnectingSession.js"
import * as TcpTunnel from "../TcpTunnel.js"
import {
  ConnectFailure,
  type LabelsUnsupported,
  type NotConnected,
  type OpenError,
  type TerminalError
} from "../WsmuxError.js"
import * as Endpoint from "./endpoint.js"
import { forwarding } from "./forward.js"
import * as Shared from "./options.js"
import * as RareWarning from "./rareWarning.js"
import { Redial } from "./redial.js"
import { attend, report, settings } from "./session.js"
import * as Tcp from "./tcp.js"
import { bearer } from "./token.js"

const options = {
  url: Args.text({ name: "url" }).pipe(Args.withDescription("URL of wsmux serve: ws://host:port or wss://host:port.")),
  listen: Shared.endpoint("listen", "Address to accept TCP connections at. Port 0 takes a free port."),
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  token: Shared.token("Bearer token for the server."),
  headers: Shared.headers,
  tlsCa: Shared.textFile("tls-ca", "Certificate authority (PEM) to trust instead of the default ones."),
  tcpKeepAlive: Shared.tcpKeepAlive,
  reconnect: Options.boolean("reconnect").pipe(
    Options.withDescription(
      "Dial again when the connection is lost: at growing intervals, and at once when a local connection waits."
    )
  ),
  maxReconnectInterval: Shared.maxReconnectInterval,
  allowAnonymous: Shared.allowAnonymous,
  stats: Shared.stats
}

/** Accepts TCP connections, and opens a stream of one WebSocket for each. */
export const connect = Command.make("connect", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    yield* Shared.refuseAnonymous(given.listen, given.allowAnonymous, "give ")
    if (!given.reconnect && Option.isSome(given.maxReconnectInterval)) {
      return yield* Shared.usage("--max-reconnect-interval: expected --reconnect beside it")
    }
    const dialling = yield* dialOptions(given)
    const redial = new Redial(Option.getOrElse(given.maxReconnectInterval, () => Duration.seconds(30)))
    const tunnel = yield* ReconnectingSession.make({
      transport: Effect.zipRight(redial.turn, NodeTransport.connect(given.url, dialling)),
      onConnect: (session) =>
        redial.connected.pipe(
          Effect.zipRight(Effect.logInfo(`connected to ${redacted(given.url)}`)),
          Effect.zipRight(Effect.forkScoped(report(session, given.stats)))
        ),
      // `redial` waits before each attempt, because a new local connection must cut that wait short.
      schedule: given.reconnect ? Schedule.whileInputEffect(Schedule.forever, again(redial)) : Schedule.stop
    })
    const server = Tcp.makeServer(given.tcpKeepAlive)
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const warn = RareWarning.make()
    const connections = yield* TcpTunnel.forward(tunnel, server, {
      ...yield* forwarding,
      onConnection: () => redial.hurry(),
      onRefused: (connection, cause) => fork(refused(connection, cause, warn))
    })
    const working = Effect.gen(function*() {
      yield* tunnel.current // the port opens after the first session has begun
      const address = yield* Tcp.listen(server, given.listen)
      yield* Console.log(`listening on ${Endpoint.format(address)}, forwarding through ${redacted(given.url)}`)
      return yield* tunnel.awaitClosed
    }).pipe(Effect.catchTag("NotConnected", Effect.succeed))
    const { cause, defect } = yield* attend(working, tunnel, connections.awaitEmpty)
    if (!(cause instanceof ConnectFailure)) return yield* Effect.fail(cause ?? defect)
    return yield* (cause.reason === "InvalidUrl"
      ? Shared.usage(cause.message)
      : Effect.fail(new Error(explain(cause, given))))
  })).pipe(Effect.provide(settings(given)))).pipe(
    Command.withDescription("Accept TCP connections, and open a stream of one WebSocket for each.")
  )

/** The longest wait in milliseconds that a `ReconnectingSession` grants to a server's `Retry-After`. */
const maxRetryAfter = 3_600_000

/** Sets the wait before the next attempt, and logs the wait and its reason. The server's `Retry-After` is added. */
const again = (redial: Redial) => (loss: ConnectFailure | TerminalError): Effect.Effect<boolean> =>
  Effect.flatMap(redial.lost, (millis) => {
    const asked = loss._tag === "ConnectFailure" ? loss.retryAfterMillis ?? 0 : 0
    const seconds = (millis + Math.min(asked, maxRetryAfter)) / 1000
    return Effect.as(Effect.logWarning(`${loss.message}; the next attempt is in ${seconds.toFixed(1)} s`), true)
  })

/** Logs why a local connection has no stream. */
const refused = (
  connection: Net.Socket,
  cause: Cause.Cause<OpenError | LabelsUnsupported | NotConnected>,
  warn: ReturnType<typeof RareWarning.make>
): Effect.Effect<void> => {
  if (cause._tag !== "Fail" || isLocalClose(cause.error)) return Effect.void
  const { _tag, message } = cause.error
  const detail = _tag === "StreamRefused" ? `${message}; its log tells why` : message // Go's wire carries no reason
  return warn(() => `cannot forward ${Tcp.addressesOf(connection).peer}: ${detail}`)
}

/** Whether this command has closed the session. */
const isLocalClose = (error: OpenError | LabelsUnsupported | NotConnected): boolean =>
  (error._tag === "NotConnected" && error.reason === "Closed") ||
  (error._tag === "SessionClosed" && error.by === "local")

const dialOptions = ({ headers, tlsCa, token, url }: {
  readonly url: string
  readonly token: Option.Option<Redacted.Redacted>
  readonly headers: Readonly<Record<string, string>>
  readonly tlsCa: Option.Option<Shared.TextFile>
}) =>
  Effect.gen(function*() {
    if (Option.isSome(token) && headers["authorization"] !== undefined) {
      return yield* Shared.usage("--header: the token is the authorization, so give one of them")
    }
    const all = Option.isSome(token) ? { ...headers, authorization: bearer(token.value) } : headers
    if (Option.isNone(tlsCa)) return { headers: all }
    if (!/^wss:/i.test(url)) return yield* Shared.usage("--tls-ca: expected a wss:// address beside it")
    const { path, text } = tlsCa.value
    // node:tls ignores an unreadable certificate, and then trusts no server
    yield* Effect.try({
      try: () => new X509Certificate(text),
      catch: () => `--tls-ca: ${path} holds no certificate (PEM)`
    }).pipe(Effect.catchAll(Shared.usage))
    return { headers: all, tls: { ca: text } }
  })

/** Describes why the connection failed, and names the option that helps. */
const explain = (failure: ConnectFailure, { tlsCa, token }: {
  readonly tlsCa: Option.Option<unknown>
  readonly token: Option.Option<unknown>
}): string => {
  if (failure.status === 401) {
    const advice = Option.isSome(token)
      ? "the token is wrong"
      : "give the token by --token-file or WSMUX_TOKEN"
    return `${failure.message}: ${advice}`
  }
  const { code } = (failure.cause ?? {}) as NodeJS.ErrnoException
  if (code === undefined || !untrusted.test(code)) return failure.message
  return `${failure.message}: ${
    Option.isSome(tlsCa) ? "--tls-ca names another authority" : "name the authority by --tls-ca"
  }`
}

/** The codes of OpenSSL for a chain of certificates without a trusted authority. */
const untrusted = /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(VERIFY_LEAF|GET_ISSUER)_.*)$/
