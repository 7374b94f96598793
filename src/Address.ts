/**
 * The addresses of a session's ends, as data. Corresponds to Go's `net.Addr`.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export interface TcpAddress {
  readonly _tag: "TcpAddress"
  readonly hostname: string
  readonly port: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface UnixAddress {
  readonly _tag: "UnixAddress"
  readonly path: string
}

/**
 * An end that has a name but no network address: a side of the in-memory pair, or a browser, where the platform hides
 * the address.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpaqueAddress {
  readonly _tag: "OpaqueAddress"
  readonly name: string
}

/**
 * @since 0.1.0
 * @category models
 */
export type Address = TcpAddress | UnixAddress | OpaqueAddress

/**
 * @since 0.1.0
 * @category constructors
 */
export const tcp = (hostname: string, port: number): Address => ({ _tag: "TcpAddress", hostname, port })

/**
 * @since 0.1.0
 * @category constructors
 */
export const unix = (path: string): Address => ({ _tag: "UnixAddress", path })

/**
 * @since 0.1.0
 * @category constructors
 */
export const opaque = (name: string): Address => ({ _tag: "OpaqueAddress", name })

/**
 * Formats the address as one word: `127.0.0.1:80`, `[::1]:80`, a path or a name.
 *
 * @since 0.1.0
 * @category combinators
 */
export const format = (address: Address): string => {
  switch (address._tag) {
    case "TcpAddress":
      return `${address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname}:${address.port}`
    case "UnixAddress":
      return address.path
    case "OpaqueAddress":
      return address.name
  }
}

/**
 * Returns the URL in a form that is safe to log. User, password and query are replaced, because they may hold tokens.
 *
 * @example
 * ```ts
 * import * as Address from "effect-wsmux/Address"
 *
 * // prints wss://***@relay.example/streams?***
 * console.log(Address.redacted("wss://user:secret@relay.example/streams?token=secret"))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const redacted = (url: string): string => {
  // In a malformed URL, any text before the last @ may be a secret.
  const user = URL.canParse(url) ? /^([a-z][\w+.-]*:\/*)[^/?#\\]*@/i : /^([a-z][\w+.-]*:\/+)?.*@/is
  return url.replace(user, "$1***@").replace(/\?[^#]*/, "?***")
}
