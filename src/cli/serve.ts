import * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Address, format } from "../Address.js"
import { declared } from "./argv.js"
import type { Source } from "./config/watched.js"
import * as Endpoint from "./endpoint.js"
import * as Forwards from "./forwards/options.js"
import * as Place from "./forwards/place.js"
import * as Shared from "./options.js"
import * as Rule from "./policy/rule.js"
import { read } from "./rules/watched.js"
import { isResuming, serving } from "./serving.js"
import * as Admin from "./status/admin.js"
import * as Monitor from "./status/monitor.js"
import * as Systemd from "./systemd.js"
import * as Tls from "./tls.js"
import * as Workers from "./workers.js"

const options = {
  listen: Shared.endpoint("listen", "Address to accept WebSockets at. Port 0 takes a free port."),
  target: Forwards.target("Address or unix socket that streams without another target are connected to."),
  allow: Forwards.allow,
  allowRemote: Forwards.allowRemote,
  proxyProtocol: Forwards.proxyProtocol("Tell targets the address of the client by the PROXY protocol, version 2."),
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  tcpKeepAlive: Shared.tcpKeepAlive,
  token: Shared.token("Bearer token that clients must send."),
  tlsCert: Shared.textFile("tls-cert", "Certificate chain (PEM) to listen with TLS."),
  tlsKey: Shared.textFile("tls-key", "Private key (PEM) of the certificate."),
  tlsClientCa: Shared.textFile("tls-client-ca", "Certificate authority (PEM) of clients that --rules may name."),
  rules: Shared.rules,
  resume: Shared.resume,
  allowAnonymous: Shared.allowAnonymous,
  workers: Shared.workers,
  grace: Shared.grace,
  config: Shared.config,
  admin: Shared.admin,
  stats: Shared.stats
}

const tlsOf = ({ rules, tlsCert, tlsClientCa, tlsKey }: {
  readonly rules: Option.Option<string>
  readonly tlsCert: Option.Option<Shared.TextFile>
  readonly tlsKey: Option.Option<Shared.TextFile>
  readonly tlsClientCa: Option.Option<Shared.TextFile>
}) =>
  Effect.gen(function*() {
    const pair = yield* Tls.keyPair("--tls-cert, --tls-key", tlsCert, tlsKey)
    if (Option.isNone(tlsClientCa)) return Option.map(pair, (pair) => ({ ...pair, clientCa: Option.none<string>() }))
    if (Option.isNone(pair)) return yield* Shared.usage("--tls-client-ca: expected --tls-cert and --tls-key beside it")
    // without rules no client would need a certificate
    if (Option.isNone(rules)) return yield* Shared.usage("--tls-client-ca: expected --rules beside it")
    const clientCa = Option.some(yield* Tls.certificate("tls-client-ca", tlsClientCa.value))
    return Option.some({ ...pair.value, clientCa })
  })

const noResuming = "resuming is off: with --workers, the next WebSocket of a client may come to another process"

/** A configuration file, with the options that this command declares. */
const sourceOf = (path: string): Source => ({
  path,
  options: [...new Set(declared({ name: "serve", usage: Command.getUsage(serve) }).values())]
})

/** Names where streams go, as far as one line can. */
const destinations = (given: {
  readonly target: Option.Option<Place.Place>
  readonly allow: ReadonlyArray<Rule.Rule>
  readonly rules: Option.Option<string>
}): string => {
  const target = Option.toArray(Option.map(given.target, Place.format))
  const rules = Option.toArray(Option.map(given.rules, (path) => `where ${path} allows`))
  return [...target, ...given.allow.map(Rule.format), ...rules].join(", ") || "listeners of clients"
}

/** Accepts sessions, and connects their streams to the target, or where the client asks and the rules allow. */
export const serve = Command.make("serve", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    if (Option.isSome(given.rules)) {
      const others = Option.isSome(given.token) || given.allow.length + given.allowRemote.length > 0
      if (others) return yield* Shared.usage("--rules: the file names users and rules, so give no --token or --allow")
      yield* read(given.rules.value) // a fault of the file is one of the command line
    } else if (Option.isNone(given.token)) {
      yield* Shared.refuseAnonymous("--listen", given.listen, given.allowAnonymous, "give a --token, --rules or ")
    }
    if (
      Option.isNone(given.target) && Option.isNone(given.rules) && given.allow.length + given.allowRemote.length === 0
    ) {
      return yield* Shared.usage("--target, --allow, --allow-remote, --rules: expected one of them")
    }
    const task = { ...given, tls: yield* tlsOf(given), config: Option.map(given.config, sourceOf) }
    const scheme = Option.isNone(task.tls) ? "ws" : "wss"
    const announce = (address: Address) => {
      const url = `${scheme}://${format(address)}`
      return Effect.all([
        Console.log(`listening on ${url}, forwarding to ${destinations(given)}`),
        Monitor.listening(url),
        Systemd.ready,
        given.workers > 1 && isResuming(task) ? Effect.logInfo(noResuming) : Effect.void
      ], { discard: true })
    }
    yield* Admin.listen(given.admin, given.allowAnonymous)
    return yield* given.workers === 1 ? serving(task, announce) : Workers.supervise(task, given.workers, announce)
  })).pipe(
    Monitor.around(Option.isSome(given.admin), { command: "serve", address: Endpoint.format(given.listen) })
  )).pipe(
    Command.withDescription(
      "Accept WebSockets, and connect their streams to a target, or where clients ask and --allow lets them."
    )
  )
