/**
 * The check of the web pages that may connect. A browser lets any page connect to any server, with the user's cookies.
 * So a server must check the page's origin (RFC 6455, 10.2).
 *
 * @since 0.1.0
 */

/**
 * The origins whose pages may connect, such as `https://app.example`, or `"*"` for every page. The check ignores a
 * default port and a path. Undefined allows only pages of the server's own host.
 *
 * @since 0.1.0
 * @category models
 */
export type AllowedOrigins = ReadonlyArray<string> | "*" | undefined

/**
 * Returns whether the server may accept an upgrade request with these headers.
 *
 * - Allows every request without an origin, because only browsers send one.
 * - Allows the given origins. Without `allowed`, allows pages of the host and port in the request.
 * - Without `allowed`, ignores the scheme, because a proxy may end TLS before the server. If `secure` says that the
 *   request came over TLS, refuses pages that came without TLS: an attacker on the network may have written them.
 *
 * The headers cannot show DNS rebinding, where an attacker points a host name at this server. A server without other
 * authorisation, as on the loopback, should pass its allowed origins, or `[]` for no page.
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
  // `host` may contain a default port, and an origin never does. So both are parsed with the scheme of the page.
  return pageOf(`${page.protocol}//${host}`)?.host === page.host && !(secure && page.protocol === "http:")
}

/** Only pages of these two schemes have a host. */
const pageOf = (origin: string): URL | undefined =>
  /^https?:/i.test(origin) && URL.canParse(origin) ? new URL(origin) : undefined

/** The origin in the form that browsers send. */
const originOf = (named: string): string | undefined => pageOf(named)?.origin
