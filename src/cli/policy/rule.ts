import * as Option from "effect/Option"
import * as Place from "../forwards/place.js"
import * as Address from "./address.js"

/** The hosts that a rule names. */
export type Host =
  /** `*`: every host, or for a listener every interface. */
  | { readonly _tag: "Any" }
  /** A listener without a host: programs of the server's machine reach it. */
  | { readonly _tag: "Loopback" }
  | { readonly _tag: "Name"; readonly name: string }
  /** `*.example.com`: every name that ends so. */
  | { readonly _tag: "Suffix"; readonly suffix: string }
  | { readonly _tag: "Block"; readonly block: Address.Block }

/** `*`, a port, or a range of ports. */
export type Ports = "any" | { readonly from: number; readonly to: number }

/** What a server allows: hosts with ports, a unix socket, or the unix sockets below a folder. */
export type Rule =
  | { readonly _tag: "Hosts"; readonly protocol: "tcp" | "udp"; readonly host: Host; readonly ports: Ports }
  | { readonly _tag: "Path"; readonly path: string }
  | { readonly _tag: "Below"; readonly folder: string }

/** Parses what clients may connect to: `[udp:]host:ports`, a path, or `/folder/*`. */
export const parse = (text: string): Option.Option<Rule> => {
  if (text.startsWith("/")) return parsePath(text)
  const { parts, protocol } = protocolOf(text)
  if (parts.length !== 2) return Option.none()
  return hosts(protocol, parseHost(parts[0]!), parsePorts(parts[1]!, 1))
}

/** Parses where clients may listen: `[udp:][bind:]ports`, a path, or `/folder/*`. */
export const parseListen = (text: string): Option.Option<Rule> => {
  if (text.startsWith("/")) return parsePath(text)
  const { parts, protocol } = protocolOf(text)
  if (parts.length < 1 || parts.length > 2) return Option.none()
  const host = parts.length === 1
    ? Option.some<Host>({ _tag: "Loopback" })
    : parts[0] === ""
    ? Option.some<Host>({ _tag: "Any" })
    : parseHost(parts[0]!)
  return hosts(protocol, host, parsePorts(parts.at(-1)!, 0))
}

/** Returns the text that `parse` or `parseListen` takes. */
export const format = (rule: Rule): string => {
  if (rule._tag === "Path") return rule.path
  if (rule._tag === "Below") return `${rule.folder}*`
  const host = formatHost(rule.host)
  return `${rule.protocol === "udp" ? "udp:" : ""}${host === "" ? "" : `${host}:`}${formatPorts(rule.ports)}`
}

/** The rule that allows one target, and nothing else. */
export const only = (place: Place.Place): Rule =>
  place._tag === "Path" ? { _tag: "Path", path: place.path } : {
    _tag: "Hosts",
    protocol: "tcp",
    host: Option.getOrElse(blockOf(place.host), (): Host => ({ _tag: "Name", name: normal(place.host) })),
    ports: { from: place.port, to: place.port }
  }

/** Names are compared without case, and without the dot of the root. */
export const normal = (name: string): string => name.toLowerCase().replace(/\.$/, "")

const hosts = (protocol: "tcp" | "udp", host: Option.Option<Host>, ports: Option.Option<Ports>): Option.Option<Rule> =>
  Option.zipWith(host, ports, (host, ports): Rule => ({ _tag: "Hosts", protocol, host, ports }))

const protocolOf = (text: string) => {
  const [, protocol = "tcp", rest = ""] = /^(?:(udp|tcp):(?=.))?(.*)$/s.exec(text) ?? []
  return { protocol: protocol as "tcp" | "udp", parts: Place.split(rest) }
}

const parseHost = (text: string): Option.Option<Host> => {
  if (text === "*") return Option.some({ _tag: "Any" })
  const block = blockOf(text.replace(/^\[(.*)\]$/, (_, inner: string) => inner.includes(":") ? inner : ""))
  if (Option.isSome(block)) return block
  const suffix = text.startsWith("*.") ? text.slice(1) : ""
  if (suffix !== "") {
    return Option.map(Place.parseHost(suffix.slice(1)), (): Host => ({ _tag: "Suffix", suffix: normal(suffix) }))
  }
  return text.startsWith("[")
    ? Option.none()
    : Option.map(Place.parseHost(text), (name): Host => ({ _tag: "Name", name: normal(name) }))
}

const blockOf = (text: string): Option.Option<Host> =>
  Option.map(Option.fromNullable(Address.parseBlock(text)), (block): Host => ({ _tag: "Block", block }))

const parsePorts = (text: string, least: 0 | 1): Option.Option<Ports> => {
  if (text === "*") return Option.some("any")
  const [from = "", to = from, ...others] = text.split("-")
  return Option.zipWith(
    Place.parsePort(from, least),
    Place.parsePort(to, least),
    (from, to) => ({ from, to })
  ).pipe(Option.filter(({ from, to }) => from <= to && others.length === 0))
}

const parsePath = (text: string): Option.Option<Rule> => {
  if (text === "/*") return Option.some({ _tag: "Below", folder: "/" })
  const isFolder = text.endsWith("/*")
  return Option.map(
    Option.filter(Place.parsePath(isFolder ? text.slice(0, -2) : text), ({ path }) => !path.includes("*")),
    ({ path }): Rule => isFolder ? { _tag: "Below", folder: `${path}/` } : { _tag: "Path", path }
  )
}

const formatHost = (host: Host): string => {
  switch (host._tag) {
    case "Any":
      return "*"
    case "Loopback":
      return ""
    case "Name":
      return host.name
    case "Suffix":
      return `*${host.suffix}`
    case "Block":
      return Address.formatBlock(host.block)
  }
}

const formatPorts = (ports: Ports): string =>
  ports === "any" ? "*" : ports.from === ports.to ? String(ports.from) : `${ports.from}-${ports.to}`
