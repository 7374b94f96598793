import * as Options from "@effect/cli/Options"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import { isIP } from "node:net"
import type { ConnectionOptions } from "node:tls"
import { redacted } from "../Address.js"
import { isWebSocketUrl } from "../internal/text/isWebSocketUrl.js"
import { portFault } from "../internal/text/portFault.js"
import * as NodeTransport from "../NodeTransport.js"
import * as ResumableTransport from "../ResumableTransport.js"
import type { Transport } from "../Transport.js"
import { ConnectFailure } from "../WsmuxError.js"
import * as Place from "./forwards/place.js"
import * as Habits from "./habits.js"
import * as Shared from "./options.js"
import * as Proxy from "./proxy.js"
import { tell } from "./resumption.js"
import * as Tls from "./tls.js"
import { bearer } from "./token.js"

const expectedName = "expected the name of a host, such as www.example.com"

/** The options that tell how to dial one URL. */
export const wayOptions = {
  token: Shared.token("Bearer token for the server."),
  headers: Shared.headers,
  proxy: Options.redacted("proxy").pipe(
    Options.withDescription(
      "Proxy, as http://user:password@host or socks5://host; default HTTPS_PROXY."
    ),
    Options.optional
  ),
  tlsCa: Shared.textFile("tls-ca", "Certificate authority (PEM) to trust instead of the default ones."),
  tlsCert: Shared.textFile("tls-cert", "Certificate chain (PEM) of this client."),
  tlsKey: Shared.textFile("tls-key", "Private key (PEM) of the certificate."),
  sni: Options.text("sni").pipe(
    Options.withPseudoName("name"),
    Options.withDescription("Name of the server for TLS, where it differs from that of the URL."),
    // RFC 6066, section 3
    Options.filterMap(
      (name) => isIP(name.replace(/^\[(.*)\]$/, "$1")) === 0 ? Option.some(name) : Option.none(),
      `--sni: ${expectedName}, since TLS takes no addresses there`
    ),
    // node:tls would take an empty name for none
    Options.filterMap(Place.parseHost, `--sni: ${expectedName}`),
    Options.optional
  )
}

/** The options of a command that dials a server. */
export const options = {
  ...wayOptions,
  fallbackUrls: Options.text("fallback-url").pipe(
    Options.withPseudoName("url"),
    Options.withDescription("Another server, for when the first does not answer. Repeatable."),
    Options.repeated,
    Options.mapEffect((urls) => Effect.forEach(urls, (url) => checkUrl(url, "--fallback-url: ")))
  ),
  resume: Shared.resume
}

/** The values of the options that tell how to dial one URL. */
export interface GivenWay {
  readonly token: Option.Option<Redacted.Redacted>
  readonly headers: Readonly<Record<string, string>>
  readonly proxy: Option.Option<Redacted.Redacted>
  readonly tlsCa: Option.Option<Shared.TextFile>
  readonly tlsCert: Option.Option<Shared.TextFile>
  readonly tlsKey: Option.Option<Shared.TextFile>
  readonly sni: Option.Option<string>
}

/** The values of the options, and the URL. */
export interface Given extends GivenWay {
  readonly url: string
  readonly fallbackUrls: ReadonlyArray<string>
  readonly resume: Duration.Duration
}

/** How to dial one URL. */
export interface Way {
  readonly headers: Readonly<Record<string, string>>
  /** Undefined for `ws://`. */
  readonly tls: ConnectionOptions | undefined
  readonly proxy: URL | undefined
  readonly agent: Http.Agent | undefined
  /** Why the proxy refused the last dial, if it did. */
  readonly refusal: () => Proxy.Refusal | undefined
}

/** Returns how to dial a URL, which is one of several. Fails for wrong options. */
export const wayOf = (given: GivenWay, url: string, urls: ReadonlyArray<string> = [url]) =>
  Effect.gen(function*() {
    const headers = yield* headersOf(given)
    const proxy = Option.getOrUndefined(yield* proxyOf(given.proxy, url))
    const tls = yield* tlsOf(given, url, urls)
    const agent = proxy && Proxy.agent(proxy)
    const refusal = agent === undefined ? () => undefined : Proxy.refusals(agent, proxy!)
    return { headers, tls, proxy, agent, refusal } satisfies Way
  })

type Dial = Effect.Effect<Transport, ConnectFailure, Scope.Scope>

/** How to dial, and where that leads. */
export interface Dialling {
  readonly dial: Dial
  /** The URL, without secrets, that was dialled last with success; before, the preferred one. */
  readonly reached: () => string
}

/**
 * Returns how to dial: the first URL that answers, through its proxy. Each dial begins with the preferred URL. The
 * connection outlives the loss of its WebSocket where the server offers that. Fails for wrong options.
 */
export const dialOf = (given: Given) =>
  Effect.gen(function*() {
    const urls = [given.url, ...given.fallbackUrls]
    yield* checkUrl(given.url)
    let reached = redacted(given.url)
    const dials = yield* Effect.forEach(urls, (url) =>
      Effect.map(wayOf(given, url, urls), (way) =>
        Effect.tap(resuming(connect(url, way), given.resume, url), () => {
          reached = redacted(url)
        })))
    const dial = dials.reduce((first, next) =>
      Effect.catchAll(first, (failure) =>
        refusesToken(failure) ? Effect.fail(failure) : next)
    )
    return {
      dial,
      reached: () =>
        reached
    } satisfies Dialling
  })

/** Dials a URL. The failure tells where the proxy, and not the server, has answered. */
const connect = (url: string, way: Way): Dial =>
  Effect.mapError(NodeTransport.connect(url, way), (failure) => {
    const refusal = way.refusal()
    if (failure.reason !== "Rejected" || refusal?.status !== failure.status) return failure
    const { reason, retryAfterMillis, status } = failure
    return new ConnectFailure({ url: failure.url, reason, status, retryAfterMillis, cause: refusal })
  })

/**
 * Whether a server has refused the token, which no further server sees then. All other answers lead to the next URL:
 * those of a proxy whose server is away, and 403 of a proxy that forbids one address.
 */
const refusesToken = ({ cause, status }: ConnectFailure): boolean => status === 401 && !(cause instanceof Proxy.Refusal)

const resuming = (dial: Dial, grace: Duration.Duration, url: string): Dial => {
  if (Duration.equals(grace, Duration.zero)) return dial
  return Effect.suspend(() => {
    let last: ConnectFailure | undefined
    const noting = dial.pipe(
      Effect.tapError((failure) => Effect.sync(() => last = failure)),
      Effect.tap(() => last = undefined)
    )
    return Effect.tap(
      ResumableTransport.connect(noting, { grace }),
      ({ state }) => Effect.forkScoped(tell({ changes: state.changes, url, grace, lastFailure: () => last }))
    )
  })
}

/** Fails where a URL is malformed, before anything is dialled. */
function checkUrl(url: string, option = "") {
  if (isWebSocketUrl(url)) return Effect.succeed(url)
  const cause = new SyntaxError("neither ws:// nor wss://")
  const { message } = new ConnectFailure({ url: redacted(url), reason: "InvalidUrl", cause })
  return Shared.usage(`${option}${message}${Habits.ofUrl(url)}`)
}

const headersOf = ({ headers, token }: GivenWay) => {
  if (Option.isNone(token)) return Effect.succeed(headers)
  return headers["authorization"] === undefined
    ? Effect.succeed({ ...headers, authorization: bearer(token.value) })
    : Shared.usage("--header: the token is the authorization, so give one of them")
}

const proxyOf = (given: Option.Option<Redacted.Redacted>, url: string) =>
  Effect.suspend(() => {
    const text = Option.match(given, { onNone: () => Proxy.ofEnvironment(url), onSome: Redacted.value })
    // an empty variable names no proxy, and an empty option may come from a variable that is not set
    if (text === "none" || (text === "" && Option.isNone(given))) return Effect.succeed(Option.none<URL>())
    const proxy = Proxy.parse(text)
    if (proxy !== undefined) return Effect.succeed(Option.some(proxy))
    // the address may hold a password
    return Shared.usage(
      `${Option.isSome(given) ? "--proxy" : Proxy.variableOf(url)}: ${
        portFault(/:\/\//.test(text) ? text : `http://${text}`) ??
          "expected http://host:port, https://host:port or socks5://host:port"
      }`
    )
  })

const isSecure = (url: string): boolean => /^wss:/i.test(url)

const tlsOf = ({ sni, tlsCa, tlsCert, tlsKey }: GivenWay, url: string, urls: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    if (!isSecure(url)) {
      if (urls.some(isSecure)) return undefined
      const given = [["--tls-ca", tlsCa], ["--tls-cert", tlsCert], ["--tls-key", tlsKey], ["--sni", sni]] as const
      const option = given.find(([, value]) => value._tag === "Some")?.[0]
      return option === undefined ? undefined : yield* Shared.usage(`${option}: expected a wss:// address beside it`)
    }
    const pair = yield* Tls.keyPair("--tls-cert, --tls-key", tlsCert, tlsKey)
    const ca = Option.isSome(tlsCa) ? yield* Tls.certificate("tls-ca", tlsCa.value) : undefined
    return {
      ...(ca === undefined ? {} : { ca }),
      ...Option.getOrElse(pair, () => ({})),
      ...(Option.isSome(sni) ? { servername: sni.value } : {})
    }
  })

/** Describes why the connection failed, and names the option that helps. */
export const explain = (failure: ConnectFailure, { tlsCa, token }: Pick<GivenWay, "tlsCa" | "token">): string => {
  if (failure.cause instanceof Proxy.Refusal) return Proxy.messageOf(failure)
  if (failure.status === 401) {
    const advice = Option.isSome(token)
      ? "the token is wrong"
      : "give the token by --token-file or WSMUX_TOKEN"
    return `${failure.message}: ${advice}`
  }
  if (failure.status !== undefined && failure.status < 400) {
    const isRedirect = failure.status >= 300
    return `${failure.message}: ${
      isRedirect ? "give the URL to which it redirects" : "a web server answers there, and not wsmux"
    }; wsmux doctor tells more`
  }
  const { code } = (failure.cause ?? {}) as NodeJS.ErrnoException
  if (code === "ECONNRESET" && !isSecure(failure.url)) {
    return `${failure.message}: the other end hangs up: check the port, and whether it wants wss://`
  }
  if (code === undefined || !untrusted.test(code)) return failure.message
  return `${failure.message}: ${
    Option.isSome(tlsCa) ? "--tls-ca names another authority" : "name the authority by --tls-ca"
  }`
}

/** The codes of OpenSSL for a chain of certificates without a trusted authority. */
export const untrusted =
  /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(VERIFY_LEAF|GET_ISSUER)_.*)$/
