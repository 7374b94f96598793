import * as Option from "effect/Option"
import * as Place from "./place.js"

/** Connections or datagrams that one end accepts and the other end brings to a target. */
export interface Forward {
  /** The end that accepts: `wsmux connect` for `local`, `wsmux serve` for `remote`. */
  readonly side: "local" | "remote"
  readonly protocol: "tcp" | "udp"
  readonly listen: Place.Place
  /** A fixed target, or the target that each client asks for by SOCKS5 or HTTP. */
  readonly target: Place.Place | "proxy"
}

/**
 * Parses the value of `-L` or `-R`, as ssh takes them:
 *
 * ```text
 * [udp:][bind:]port:host:port    [bind:]port:/path    /path:host:port    /path:/path
 * ```
 *
 * Either part may be a unix socket. An IPv6 address stands in brackets. A `bind` that is empty or `*` means every
 * interface. `-R [bind:]port` alone is a proxy at the server's end, as with ssh. chisel's `/udp` at the end is
 * understood, too.
 */
export const parse = (side: Forward["side"], text: string): Option.Option<Forward> => {
  const { protocol, rest } = protocolOf(text)
  if (/^(tcp|udp):\/\//.test(text)) return Option.none() // `tcp://80:db:80` names no path
  const parts = Place.split(rest)
  if (side === "remote" && protocol === "tcp" && isListenerAlone(parts)) return parseProxy(side, rest)
  const isPath = parts.at(-1)?.startsWith("/") === true
  const at = parts.length - (isPath ? 1 : 2)
  return makeForward(side, protocol, parts.slice(0, at), parts.slice(at))
}

/** Parses the value of `-D`: `[bind:]port` or a path. */
export const parseProxy = (side: Forward["side"], text: string): Option.Option<Forward> =>
  Option.map(
    Place.parseListener(Place.split(text)),
    (listen): Forward => ({ side, protocol: "tcp", listen, target: "proxy" })
  )

/** Parses the value of `-W`: `host:port` or a path. */
export const parseTarget = (text: string): Option.Option<Place.Place> => Place.parseTarget(Place.split(text))

/** The target of chisel's remote `stdio:host:port`, which is that of `-W`. */
export interface Stdio {
  readonly side: "stdio"
  readonly target: Place.Place
}

/**
 * Parses a remote of chisel, `[R:][[bind:]port:][host:]port[/udp]`, where `socks` may take the place of the target:
 *
 * | remote | the same as |
 * | --- | --- |
 * | `3000` | `-L 3000:127.0.0.1:3000` |
 * | `8080:80` | `-L 8080:127.0.0.1:80` |
 * | `db:5432` | `-L 5432:db:5432` |
 * | `5432:db:5432` | `-L 5432:db:5432` |
 * | `0.0.0.0:5432:db:5432` | `-L 0.0.0.0:5432:db:5432` |
 * | `1.1.1.1:53/udp` | `-L udp:53:1.1.1.1:53` |
 * | `socks`, `5000:socks` | `-D 1080`, `-D 5000` |
 * | `R:8080:host:80` | `-R 8080:host:80` |
 * | `R:socks` | `-R 1080` |
 * | `stdio:host:22` | `-W host:22` |
 *
 * chisel listens at every interface by default, and this command at `127.0.0.1`.
 */
export const parseRemote = (text: string): Option.Option<Forward | Stdio> => {
  if (text.startsWith("stdio:")) {
    return Option.map(parseTarget(text.slice("stdio:".length)), (target) => ({ side: "stdio" as const, target }))
  }
  const side = text.startsWith("R:") ? "remote" : "local"
  const { protocol, rest } = protocolOf(side === "remote" ? text.slice("R:".length) : text)
  const parts = Place.split(rest)
  if (parts.some((part) => part.startsWith("/")) || text.startsWith("udp:")) return parse(side, text.replace(/^R:/, ""))
  if (parts.at(-1) === "socks") {
    const listen = parts.length === 1 ? [socksPort] : parts.slice(0, -1)
    return protocol === "tcp" ? parseProxy(side, listen.join(":")) : Option.none()
  }
  const last = parts.at(-1) ?? ""
  if (parts.length === 1) return makeForward(side, protocol, [last], [Place.loopback, last])
  if (parts.length !== 2) return makeForward(side, protocol, parts.slice(0, -2), parts.slice(-2))
  const isPort = Option.isSome(Place.parsePort(parts[0]!, 0))
  return isPort
    ? makeForward(side, protocol, [parts[0]!], [Place.loopback, last])
    : makeForward(side, protocol, [last], parts)
}

/** The port of chisel's `socks`. */
const socksPort = "1080"

/** Returns the text of a forward as its option takes it: that of `-D` for a local proxy, else that of `-L` or `-R`. */
export const format = ({ listen, protocol, target }: Forward): string => {
  const prefix = protocol === "udp" ? "udp:" : ""
  return `${prefix}${Place.format(listen)}${target === "proxy" ? "" : `:${Place.format(target)}`}`
}

/** The option that a forward is written with. */
export const optionOf = ({ side, target }: Forward): "-L" | "-R" | "-D" =>
  side === "remote" ? "-R" : target === "proxy" ? "-D" : "-L"

const protocolOf = (text: string): { readonly protocol: Forward["protocol"]; readonly rest: string } => {
  const match = /^(?:(udp|tcp):)?(.*?)(?:(?<=(?:^|:)\d+)\/(udp|tcp))?$/s.exec(text)!
  return { protocol: match[1] === "udp" || match[3] === "udp" ? "udp" : "tcp", rest: match[2]! }
}

/** Whether the parts are those of `[bind:]port`. */
const isListenerAlone = (parts: ReadonlyArray<string>): boolean =>
  parts.length <= 2 && Option.exists(Place.parseListener(parts), ({ _tag }) => _tag === "Port")

const makeForward = (
  side: Forward["side"],
  protocol: Forward["protocol"],
  listener: ReadonlyArray<string>,
  target: ReadonlyArray<string>
): Option.Option<Forward> =>
  Option.zipWith(Place.parseListener(listener), Place.parseTarget(target), (listen, target): Forward => ({
    side,
    protocol,
    listen,
    target
  })).pipe(
    // Datagrams of unix sockets lie outside of node:dgram.
    Option.filter(({ listen, target }) => protocol === "tcp" || (isPort(listen) && isPort(target)))
  )

const isPort = (place: Forward["target"]): boolean => place !== "proxy" && place._tag === "Port"
