import * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { createSecureContext } from "node:tls"
import { format } from "../Address.js"
import * as NodeTransportServer from "../NodeTransportServer.js"
import * as SessionServer from "../SessionServer.js"
import * as TcpTunnel from "../TcpTunnel.js"
import { TransportServer } from "../TransportServer.js"
import * as Endpoint from "./endpoint.js"
import { forwarding } from "./forward.js"
import * as Shared from "./options.js"
import * as RareWarning from "./rareWarning.js"
import * as Refusals from "./refusals.js"
import { attend, report, settings } from "./session.js"
import * as Tcp from "./tcp.js"
import { authorize } from "./token.js"

const options = {
  listen: Shared.endpoint("listen", "Address to accept WebSockets at. Port 0 takes a free port."),
  target: Shared.target("target", "Address that each stream is connected to."),
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  tcpKeepAlive: Shared.tcpKeepAlive,
  token: Shared.token("Bearer token that clients must send."),
  tlsCert: Shared.textFile("tls-cert", "Certificate chain (PEM) to listen with TLS."),
  tlsKey: Shared.textFile("tls-key", "Private key (PEM) of the certificate."),
  allowAnonymous: Shared.allowAnonymous,
  stats: Shared.stats
}

/** Accepts sessions, and connects each of their streams to the target. */
export const serve = Command.make("serve", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    if (Option.isNone(given.token)) {
      yield* Shared.refuseAnonymous(given.listen, given.allowAnonymous, "give a --token or ")
    }
    const tls = yield* tlsOf(given.tlsCert, given.tlsKey)
    const transports = yield* NodeTransportServer.make({
      ...given.listen,
      tls,
      allowedOrigins: [], // by DNS rebinding a page of any host would have our origin
      authorize: authorize(given.token),
      onRejected: Refusals.make()
    })
    const server = yield* Effect.provideService(SessionServer.make(), TransportServer, transports)
    const warn = RareWarning.make()
    const scheme = tls === undefined ? "ws" : "wss"
    yield* Console.log(
      `listening on ${scheme}://${format(server.address)}, forwarding to ${Endpoint.format(given.target)}`
    )
    return yield* server.run((session) =>
      Effect.gen(function*() {
        yield* Effect.logInfo("client connected")
        const fork = Runtime.runFork(yield* Effect.runtime<never>())
        const tunnel = TcpTunnel.serve(session, {
          ...yield* forwarding,
          connect: () => Tcp.dial(given.target, given.tcpKeepAlive),
          onUnreachable: ({ detail }) => fork(warn(() => `cannot reach ${Endpoint.format(given.target)}: ${detail}`))
        })
        const streams = yield* Effect.fork(Effect.ignore(tunnel))
        yield* Effect.forkScoped(report(session, given.stats))
        const cause = yield* attend(session.awaitClosed, session, Fiber.await(streams))
        yield* Effect.logInfo(`client disconnected: ${cause.message}`)
      }).pipe(Effect.annotateLogs("peer", format(session.remoteAddress)))
    )
  })).pipe(Effect.provide(settings(given)))).pipe(
    Command.withDescription("Accept WebSockets, and connect each of their streams to a TCP target.")
  )

const tlsOf = (cert: Option.Option<Shared.TextFile>, key: Option.Option<Shared.TextFile>) =>
  Effect.gen(function*() {
    if (Option.isNone(cert) && Option.isNone(key)) return undefined
    if (Option.isNone(cert) || Option.isNone(key)) {
      return yield* Shared.usage("--tls-cert, --tls-key: give both")
    }
    const tls = { cert: cert.value.text, key: key.value.text }
    yield* Effect.try({
      try: () => {
        if (tls.cert === "" || tls.key === "") throw new Error() // node:tls ignores an empty text
        createSecureContext(tls)
      },
      catch: () =>
        `--tls-cert, --tls-key: expected a certificate (PEM) and its key in ${cert.value.path} and ${key.value.path}`
    }).pipe(Effect.catchAll(Shared.usage))
    return tls
  })
