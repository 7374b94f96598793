import * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createSecureContext } from "node:tls"
import { type Address, format } from "../Address.js"
import * as Endpoint from "./endpoint.js"
import * as Shared from "./options.js"
import { serving } from "./serving.js"
import * as Workers from "./workers.js"

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
  workers: Shared.workers,
  stats: Shared.stats
}

/** Accepts sessions, and connects each of their streams to the target. */
export const serve = Command.make("serve", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    if (Option.isNone(given.token)) {
      yield* Shared.refuseAnonymous(given.listen, given.allowAnonymous, "give a --token or ")
    }
    const task = { ...given, tls: yield* tlsOf(given.tlsCert, given.tlsKey) }
    const scheme = Option.isNone(task.tls) ? "ws" : "wss"
    const announce = (address: Address) =>
      Console.log(`listening on ${scheme}://${format(address)}, forwarding to ${Endpoint.format(given.target)}`)
    return yield* given.workers === 1 ? serving(task, announce) : Workers.supervise(task, given.workers, announce)
  }))).pipe(
    Command.withDescription("Accept WebSockets, and connect each of their streams to a TCP target.")
  )

const tlsOf = (cert: Option.Option<Shared.TextFile>, key: Option.Option<Shared.TextFile>) =>
  Effect.gen(function*() {
    if (Option.isNone(cert) && Option.isNone(key)) return Option.none()
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
    return Option.some(tls)
  })
