import * as Effect from "effect/Effect"
import * as Https from "node:https"
import { isIP } from "node:net"
import { type DetailedPeerCertificate, TLSSocket } from "node:tls"
import { untrusted, type Way } from "../dialling.js"
import { ofProxy } from "./answer.js"
import { fail, type Finding, ok, warn } from "./finding.js"

/** A certificate that ends sooner deserves a warning: most are renewed a month before their end. */
const soonDays = 14

const day = 86_400_000

const patience = 10_000

/**
 * Shakes hands by TLS on the way of the WebSocket, and judges the certificate. Sends no request, so an impostor learns
 * no header. `hasCa` tells whether `--tls-ca` is given.
 */
export const tls = (url: URL, way: Way, hasCa: boolean): Effect.Effect<Finding> =>
  Effect.async((resume) => {
    const done = (finding: Finding) => {
      request.destroy()
      resume(Effect.succeed(finding))
    }
    const failed = (cause: TlsError) => done(fail("tls", cause.reason ?? cause.message, adviceFor(cause, way)))
    // a request that is not ended sends nothing
    const request = Https.request(url.href.replace(/^ws/, "http"), {
      ...way.tls,
      ...(way.agent === undefined ? { agent: false } : { agent: way.agent }),
      rejectUnauthorized: false
    })
    request.on("error", failed).setTimeout(patience, () => {
      done(fail("tls", "the handshake takes too long", "a firewall or a proxy may hold TLS back"))
    })
    request.once("socket", (socket) => {
      // a proxy that refuses gives an ordinary socket with its answer
      if (!(socket instanceof TLSSocket)) {
        const refusal = way.refusal()
        return done(
          refusal === undefined
            ? fail("tls", "the proxy did not connect the server", "check what the proxy allows")
            : ofProxy("tls", refusal)
        )
      }
      const judged = () => done(judge(socket, way, hasCa))
      if (socket.getProtocol() !== null && socket.getPeerCertificate().raw !== undefined) judged()
      else socket.once("secureConnect", judged)
    })
    return Effect.sync(() => request.destroy())
  })

const judge = (socket: TLSSocket, way: Way, hasCa: boolean): Finding => {
  const certificate = socket.getPeerCertificate(true)
  const end = new Date(certificate.valid_to)
  const days = Math.floor((end.getTime() - Date.now()) / day)
  const until = end.toISOString().slice(0, 10)
  const detail = `${socket.getProtocol()}, certificate of ${namesOf(certificate)} by ${issuerOf(certificate)}`
  if (socket.authorized) {
    return days < soonDays
      ? warn("tls", `${detail}, ends on ${until}`, `renew the certificate of the server: ${days} days are left`)
      : ok("tls", `${detail}, until ${until}`)
  }
  const code = String(socket.authorizationError)
  return fail("tls", `${detail}, until ${until}: ${code}`, adviceForCertificate(code, namesOf(certificate), way, hasCa))
}

const adviceForCertificate = (code: string, names: string, way: Way, hasCa: boolean): string => {
  if (code === "CERT_HAS_EXPIRED") return "the certificate has expired: renew it at the server"
  if (code === "CERT_NOT_YET_VALID") return "the certificate is not valid yet: check the clocks of both machines"
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return way.tls?.servername === undefined ? adviceForNames(names) : "--sni names another server than the certificate"
  }
  if (!untrusted.test(code)) return "the certificate is not valid: look at it by openssl s_client"
  return hasCa ? "--tls-ca names another authority" : "the authority is not known here: name it by --tls-ca"
}

/** What to do when a certificate has these names only. `--sni` takes no addresses. */
export const adviceForNames = (names: string): string => {
  const name = names.split(", ").find((name) => isIP(name) === 0)
  const other = name === undefined ? "" : `, or give --sni, such as ${name}`
  return `the certificate is for other names: dial one of them${other}`
}

/** The message of OpenSSL holds lines of its source, and the reason does not. */
interface TlsError extends NodeJS.ErrnoException {
  readonly reason?: string
}

const adviceFor = ({ code = "", message }: TlsError, way: Way): string => {
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|packet length/i.test(`${code} ${message}`)) {
    return "the server speaks no TLS at this port: dial ws:// or another port"
  }
  if (code === "ECONNRESET") return "the other end hangs up: a firewall, or a server that knows no such name (--sni)"
  return way.proxy === undefined ? "check the TLS settings of the server" : "check what the proxy allows"
}

const namesOf = ({ subject, subjectaltname }: DetailedPeerCertificate): string =>
  (subjectaltname ?? "").replaceAll(/(DNS|IP Address|URI|email):/g, "") || textOf(subject?.CN) || "no name"

const issuerOf = ({ issuer, issuerCertificate, fingerprint256 }: DetailedPeerCertificate): string =>
  issuerCertificate?.fingerprint256 === fingerprint256 ? "itself" : textOf(issuer?.CN ?? issuer?.O) || "no name"

/** A certificate may have several common names. */
const textOf = (name: string | ReadonlyArray<string> | undefined): string => [name ?? ""].flat().join(", ")
