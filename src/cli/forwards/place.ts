import * as Option from "effect/Option"
import * as Net from "node:net"
import { portFault } from "../../internal/text/portFault.js"

/** A host and a port. The host `*` of a listener means every interface. */
export interface Port {
  readonly _tag: "Port"
  readonly host: string
  readonly port: number
}

/** A unix socket. */
export interface Path {
  readonly _tag: "Path"
  readonly path: string
}

/** Where connections are accepted, or where they go. */
export type Place = Port | Path

export const port = (host: string, port: number): Port => ({ _tag: "Port", host, port })

export const path = (path: string): Path => ({ _tag: "Path", path })

export const format = (place: Place): string => place._tag === "Path" ? place.path : formatPort(place.host, place.port)

export const formatPort = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

/**
 * Splits a text at its colons. An address in brackets is one part, and keeps its brackets. Returns no parts where
 * brackets are unbalanced.
 */
export const split = (text: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  for (let rest = text;;) {
    const match = /^(\[[^\][]*\]|[^:\][]*)(:|$)/.exec(rest)
    if (match === null) return []
    parts.push(match[1]!)
    if (match[2] === "") return parts
    rest = rest.slice(match[0].length)
  }
}

/** Parses a name, an IPv4 address, or an IPv6 address in brackets. */
export const parseHost = (text: string): Option.Option<string> => {
  const address = /^\[(.*)\]$/.exec(text)?.[1]
  if (address !== undefined) return Net.isIPv6(address) ? Option.some(address) : Option.none()
  if (!/^\w(?:[\w.-]*[\w.])?$/.test(text) || text.length > 253) return Option.none()
  return /^[\d.]+$/.test(text) && !Net.isIPv4(text) ? Option.none() : Option.some(text)
}

/** Parses the port of a target, or with `least` 0 also the port of a listener, which then takes a free port. */
export const parsePort = (text: string, least: 0 | 1): Option.Option<number> => {
  const number = Number(text)
  return /^\d{1,5}$/.test(text) && number >= least && number <= 65_535 ? Option.some(number) : Option.none()
}

/** The most bytes of a path. Linux takes 107, macOS 103, and the two ends may differ. */
const longestPath = 103

/** Parses an absolute path without colons. */
export const parsePath = (text: string): Option.Option<Path> =>
  /^\/[^:\0]*[^:\0/]$/.test(text) && Buffer.byteLength(text) <= longestPath ? Option.some(path(text)) : Option.none()

/** Returns the fault of a port that is too large, or of a path that is too long, or undefined. */
export const fault = (text: string): string | undefined => portFault(text) ?? pathFault(text)

const pathFault = (text: string): string | undefined => {
  if (text.includes("://")) return undefined
  const length = Math.max(...split(text).filter((part) => part.startsWith("/")).map((part) => Buffer.byteLength(part)))
  return length > longestPath ? `expected a path of at most ${longestPath} bytes, not ${length}` : undefined
}

/** Parses the parts of a target: a host and a port, or a path. */
export const parseTarget = (parts: ReadonlyArray<string>): Option.Option<Place> => {
  if (parts.length === 1) return parsePath(parts[0]!)
  if (parts.length !== 2) return Option.none()
  return Option.zipWith(parseHost(parts[0]!), parsePort(parts[1]!, 1), port)
}

/** Parses the parts of a listener: a port, a host and a port, or a path. */
export const parseListener = (parts: ReadonlyArray<string>): Option.Option<Place> => {
  if (parts.length === 1 && parts[0]!.startsWith("/")) return parsePath(parts[0]!)
  if (parts.length < 1 || parts.length > 2) return Option.none()
  const host = parts.length === 1 ? Option.some(loopback) : parseBind(parts[0]!)
  return Option.zipWith(host, parsePort(parts.at(-1)!, 0), port)
}

/** The words of protocols, which precede a listener, are no hosts of listeners. */
const parseBind = (text: string): Option.Option<string> =>
  text === "" || text === "*" ? Option.some("*") : Option.filter(parseHost(text), (host) => !/^(udp|tcp)$/.test(host))

/** The host of a listener whose port stands alone: programs of this machine only. */
export const loopback = "127.0.0.1"
