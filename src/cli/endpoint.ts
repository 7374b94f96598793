import * as Option from "effect/Option"
import * as Net from "node:net"

/**
 * A host and a port of the command line, such as `127.0.0.1:8080`, `localhost:80`, `[::1]:5432`, or `8080` and
 * `:8080`.
 */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** The host of a port alone: programs of this machine only. */
const defaultHost = "127.0.0.1"

/** What `parse` expects. */
export const expected = "host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080"

/** Parses `host:port`, `[address]:port`, `:port` or `port`. */
export const parse = (text: string): Option.Option<Endpoint> => {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(text)
  if (match === null) return Option.none()
  const host = match[1] ?? (match[2] || defaultHost)
  const port = Number(match[3])
  const isAddress = match[1] === undefined ? !/^[\d.]+$/.test(host) || Net.isIPv4(host) : Net.isIPv6(host)
  return port > 65_535 || !isAddress ? Option.none() : Option.some({ host, port })
}

export const format = ({ host, port }: Endpoint): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

/** Whether only programs of this machine can reach the endpoint. */
export const isLoopback = ({ host }: Endpoint): boolean =>
  host === "localhost" || host === "::1" || (Net.isIPv4(host) && host.startsWith("127."))
