import * as Option from "effect/Option"
import type { Metadata, MuxStream } from "../../MuxStream.js"
import * as Place from "./place.js"
import type { Forward } from "./spec.js"

/**
 * The labels of streams between the two commands, and their metadata:
 *
 * | label | opener | metadata | acceptor |
 * | --- | --- | --- | --- |
 * | none | `connect` | | connects to `--target` |
 * | `http` | `relay` | | connects to `--target` |
 * | `tcp`, `udp`, `unix` | `connect` | `target`: `host:port` or a path; `confirm` | connects to the target |
 * | `listen` | `connect` | `bind`; `name` | listens, and writes the address as a line |
 * | `forwarded` | `serve` | `listener`: that `name`; `peer`: an address | connects to the target of the forward |
 * | `about` | `connect` | | writes `tcp unix udp listen` as a line, and `measure` where it measures |
 * | `measure` | `doctor` | `kind`: `echo`, `sink` or `source` | returns, counts or makes bytes |
 *
 * `bind` is `tcp`, `udp` or `unix`, a space, and an address or path.
 *
 * With `confirm`, the acceptor writes one byte 0 once the target is connected, before all others. A `udp` stream, and a
 * `forwarded` stream of a `udp` listener, carries datagrams, each behind its length as a uint16. A `listen` stream
 * lives as long as its listener, and either end ends the listener by ending the stream. Its `name` is of the opener's
 * choice, since a connection may be forwarded before the opener knows the id of its stream.
 */
export const Label = {
  http: "http",
  tcp: "tcp",
  udp: "udp",
  unix: "unix",
  listen: "listen",
  forwarded: "forwarded",
  about: "about",
  measure: "measure"
} as const

/** The byte by which the acceptor tells that a target is connected. */
export const confirmation = new Uint8Array(1)

/** The features that forwards need, as the acceptor of `about` tells them. */
export const features = "tcp unix udp listen"

/** The feature of a server that lets its clients measure. */
export const measures = "measure"

export type Protocol = "tcp" | "udp" | "unix"

/** A target or a listener with the protocol that reaches it. */
export interface Located {
  readonly protocol: Protocol
  readonly place: Place.Place
}

export const located = (protocol: Forward["protocol"], place: Place.Place): Located => ({
  protocol: place._tag === "Path" ? "unix" : protocol,
  place
})

/** The label and the metadata of a stream to a target. */
export const toTarget = (
  { place, protocol }: Located,
  confirm = false
): { readonly label: string; readonly metadata: Metadata } => ({
  label: protocol,
  metadata: { target: Place.format(place), ...(confirm ? { confirm: "1" } : {}) }
})

/** Returns the target of a stream with one of the labels `tcp`, `udp` and `unix`. */
export const targetOf = ({ label, metadata }: MuxStream): Option.Option<Located> =>
  parseLocated(label, metadata.target ?? "", 1)

/** The metadata of a stream that asks for a listener. */
export const toListener = ({ place, protocol }: Located, name: string): Metadata => ({
  bind: `${protocol} ${Place.format(place)}`,
  name
})

/** Returns where a `listen` stream wants a listener, and the name of that listener. */
export const listenerOf = ({ metadata }: MuxStream): Option.Option<Located & { readonly name: string }> => {
  const [, protocol = "", address = ""] = /^(\S+) (.+)$/.exec(metadata.bind ?? "") ?? []
  return Option.map(parseLocated(protocol, address, 0), (located) => ({ ...located, name: metadata.name ?? "" }))
}

const parseLocated = (protocol: string, text: string, leastPort: 0 | 1): Option.Option<Located> => {
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "unix") return Option.none()
  const parts = Place.split(text)
  return (leastPort === 1 ? Place.parseTarget(parts) : Place.parseListener(parts)).pipe(
    Option.filter(({ _tag }) => (_tag === "Path") === (protocol === "unix")),
    Option.map((place) => ({ protocol, place }))
  )
}
