/**
 * Which web pages may connect. Browsers let any page dial any server, with the user's cookies, so a server has to ask
 * for the page's origin (RFC 6455, 10.2).
 *
 * @since 0.1.0
 */

/**
 * The origins whose pages may connect, such as `https://app.example`, or `"*"` for every page. A default port and a
 * path are ignored. None given means those of the server's own host only.
 *
 * @since 0.1.0
 * @category models
 */
export type AllowedOrigins = ReadonlyArray<string> | "*" | undefined

/**
 * Whether the upgrade request with these headers may come in: programs, which send no origin, always; pages from an
 * allowed origin, and of the same host and port where none is given. The scheme is not compared then, since a proxy may
 * speak TLS in the server's place; but where it is known that the request came over TLS (`secure`), pages that came
 * without it are foreign, since anybody on the way may have written them. Nor do headers tell whether a host's name was
 * made to point here (DNS rebinding): a server that lets in everybody who reaches it, as on the loopback, had better
 * name its origins, or none.
 *
 * @example
 * ```ts
 * import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
 * import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
 * import * as Origin from "effect-wsmux/Origin"
 * import * as Effect from "effect/Effect"
 *
 * // the first step of a route that upgrades to a session
 * export const checked = <E, R>(route: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
 *   Effect.gen(function*() {
 *     const { headers } = yield* HttpServerRequest.HttpServerRequest
 *     return Origin.isAllowed(headers) ? yield* route : HttpServerResponse.empty({ status: 403 })
 *   })
 * ```
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAllowed = (
  headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>,
  allowed?: AllowedOrigins,
  secure = false
): boolean => {
  const { host, origin } = headers
  if (origin === undefined || allowed === "*") return true
  if (typeof origin !== "string") return false
  if (allowed !== undefined) return allowed.some((named) => named === origin || originOf(named) === origin)
  const page = pageOf(origin)
  if (page === undefined || typeof host !== "string" || !/^[^\s@/?#\\]+$/.test(host)) return false
  // A default port may stand in `host`, and never in an origin: both are read by the scheme of the page.
  return pageOf(`${page.protocol}//${host}`)?.host === page.host && !(secure && page.protocol === "http:")
}

/** Only pages of these two schemes have a host. */
const pageOf = (origin: string): URL | undefined =>
  /^https?:/i.test(origin) && URL.canParse(origin) ? new URL(origin) : undefined

/** An origin as browsers write it. */
const originOf = (named: string): string | undefined => pageOf(named)?.origin
