import * as Command from "@effect/cli/Command"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { createSecureContext } from "node:tls"
import { format } from "../Address.js"
import * as ByteStream from "../ByteStream.js"
import type { MuxStream } from "../MuxStream.js"
import * as SessionServer from "../SessionServer.js"
import { TransportServer } from "../TransportServer.js"
import * as WsTransportServer from "../WsTransportServer.js"
import * as Endpoint from "./endpoint.js"
import * as Shared from "./options.js"
import { attend, report, settings } from "./session.js"
import * as Tcp from "./tcp.js"
import { authorize } from "./token.js"

const options = {
  listen: Shared.endpoint("listen", "Where to accept WebSockets; port 0 for any free one."),
  target: Shared.target("target", "Where each stream is connected to."),
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  token: Shared.token("What clients must show as their bearer token; also WSMUX_TOKEN."),
  tlsCert: Shared.file("tls-cert", "Certificate chain (PEM) to listen with TLS."),
  tlsKey: Shared.file("tls-key", "Private key (PEM) of the certificate."),
  allowAnonymous: Shared.allowAnonymous,
  stats: Shared.stats
}

/** Accepts sessions, and connects each of their streams to the target. */
export const serve = Command.make("serve", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    if (Option.isNone(given.token)) {
      yield* Shared.refuseStrangers(given.listen, given.allowAnonymous, "give a --token, or ")
    }
    const tls = yield* readTls(given.tlsCert, given.tlsKey)
    const transports = yield* WsTransportServer.make({
      ...given.listen,
      tls,
      allowedOrigins: [], // a page of any host would be of ours if its name was made to point here (DNS rebinding)
      authorize: authorize(given.token)
    })
    const server = yield* Effect.provideService(SessionServer.make(), TransportServer, transports)
    const scheme = tls === undefined ? "ws" : "wss"
    yield* Console.log(
      `listening on ${scheme}://${format(server.address)}, forwarding to ${Endpoint.format(given.target)}`
    )
    return yield* server.run((session) =>
      Effect.gen(function*() {
        yield* Effect.logInfo("a client has connected")
        const streams = yield* Effect.fork(Effect.ignore(session.run((stream) => forward(stream, given.target))))
        yield* Effect.forkScoped(report(session, given.stats))
        const cause = yield* attend(session.awaitClosed, session, Fiber.await(streams))
        yield* Effect.logInfo(`a client has gone: ${cause.message}`)
      }).pipe(Effect.annotateLogs("peer", format(session.remoteAddress)))
    )
  })).pipe(Effect.provide(settings(given)))).pipe(
    Command.withDescription("Accept WebSockets, and connect each of their streams to a TCP target.")
  )

const forward = (stream: MuxStream, target: Endpoint.Endpoint) =>
  Tcp.connect(target).pipe(
    Effect.tapError((error) => Effect.logWarning(error.message)),
    Effect.flatMap((socket) => ByteStream.join(stream, socket)),
    Effect.catchAll((error) => Effect.logDebug(`a stream broke: ${error.message}`))
  )

const readTls = (cert: Option.Option<string>, key: Option.Option<string>) =>
  Effect.gen(function*() {
    if (Option.isNone(cert) && Option.isNone(key)) return undefined
    if (Option.isNone(cert) || Option.isNone(key)) {
      return yield* Shared.usage("--tls-cert and --tls-key belong together")
    }
    const files = yield* FileSystem.FileSystem
    const tls = {
      cert: yield* files.readFileString(cert.value),
      key: yield* files.readFileString(key.value)
    }
    yield* Effect.try({
      try: () => createSecureContext(tls),
      catch: () => `${cert.value} and ${key.value} are no certificate (PEM) and its private key`
    }).pipe(Effect.catchAll(Shared.usage))
    return tls
  })
