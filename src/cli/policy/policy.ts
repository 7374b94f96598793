import { posix } from "node:path"
import * as Address from "./address.js"
import { normal, type Ports, type Rule } from "./rule.js"

/** The authenticated client: a name, or undefined where all clients count as one. */
export type User = string | undefined

/** What a client asks a server for. */
export type Target =
  /** A host before its name is resolved. Each address of a name is judged by `Address` afterwards. */
  | { readonly _tag: "Host"; readonly protocol: "tcp" | "udp"; readonly host: string; readonly port: number }
  /** An address that a name was resolved to. */
  | {
    readonly _tag: "Address"
    readonly protocol: "tcp" | "udp"
    readonly name: string
    readonly address: string
    readonly port: number
  }
  | { readonly _tag: "Path"; readonly path: string }
  /** A listener. The host `*` means every interface. */
  | { readonly _tag: "Listen"; readonly protocol: "tcp" | "udp"; readonly host: string; readonly port: number }
  | { readonly _tag: "ListenPath"; readonly path: string }

export type Decision = { readonly _tag: "Allowed" } | { readonly _tag: "Refused"; readonly reason: string }

/** Decides at every open what a user may do. The answer may change between two opens. */
export interface Policy {
  readonly decide: (user: User, target: Target) => Decision
}

/** What is allowed: where connections may go, and where clients may listen. */
export interface Rules {
  readonly connect: ReadonlyArray<Rule>
  readonly listen: ReadonlyArray<Rule>
}

/** The policy with the same rules for every user. */
export const ofRules = (rules: Rules): Policy => ({ decide: (_user, target) => decide(rules, target) })

/**
 * Judges a target by rules. Nothing is allowed that no rule names:
 *
 * - A block of addresses and `*` allow addresses, also those of names.
 * - A name allows that name, wherever it leads in a public or private network. `localhost` leads to this machine.
 * - `*.example.com` allows names that others may add, so it leads to public addresses only.
 * - The ports `*` of a listener leave out those below 1024.
 *
 * One reason serves for all refusals. A client must not learn which names exist in the network of the server.
 */
export const decide = ({ connect, listen }: Rules, target: Target): Decision => {
  switch (target._tag) {
    case "Host": {
      const address = Address.parse(target.host)
      const name = normal(target.host)
      return some(
        connect,
        (rule) =>
          rule._tag === "Hosts" && rule.protocol === target.protocol && hasPort(rule.ports, target.port) &&
          (address === undefined ? mayAllowName(rule, name) : allowsAddress(rule, undefined, address))
      )
    }
    case "Address": {
      const address = Address.parse(target.address)
      const name = normal(target.name)
      return some(
        connect,
        (rule) =>
          rule._tag === "Hosts" && rule.protocol === target.protocol && hasPort(rule.ports, target.port) &&
          address !== undefined && allowsAddress(rule, name, address)
      )
    }
    case "Listen":
      return some(
        listen,
        (rule) =>
          rule._tag === "Hosts" && rule.protocol === target.protocol && allowsListener(rule, target.host) &&
          (rule.ports === "any" ? target.port === 0 || target.port >= 1024 : hasPort(rule.ports, target.port))
      )
    case "Path":
      return some(connect, (rule) => allowsPath(rule, target.path))
    case "ListenPath":
      return some(listen, (rule) => allowsPath(rule, target.path))
  }
}

export const allowed: Decision = { _tag: "Allowed" }

export const refused: Decision = { _tag: "Refused", reason: "the server does not allow it" }

type HostsRule = Extract<Rule, { readonly _tag: "Hosts" }>

const some = (rules: ReadonlyArray<Rule>, allows: (rule: Rule) => boolean): Decision =>
  rules.some(allows) ? allowed : refused

const hasPort = (ports: Ports, port: number): boolean => ports === "any" || (ports.from <= port && port <= ports.to)

/** Whether some address of the name may be allowed, so that the name is worth resolving. */
const mayAllowName = ({ host }: HostsRule, name: string): boolean => {
  switch (host._tag) {
    case "Name":
      return host.name === name
    case "Suffix":
      return name.endsWith(host.suffix)
    default:
      return true
  }
}

const allowsAddress = ({ host }: HostsRule, name: string | undefined, address: Address.Address): boolean => {
  switch (host._tag) {
    case "Any":
      return true
    case "Block":
      return Address.contains(host.block, address)
    case "Name":
      return host.name === name &&
        (Address.isOfNetwork(address) || (name === "localhost" && Address.isLoopback(address)))
    case "Suffix":
      return name?.endsWith(host.suffix) === true && Address.isPublic(address)
    case "Loopback":
      return false
  }
}

const allowsListener = ({ host }: HostsRule, bind: string): boolean => {
  const address = Address.parse(bind)
  switch (host._tag) {
    case "Any":
      return true
    case "Loopback":
      return bind === "localhost" || (address !== undefined && Address.isLoopback(address))
    case "Block":
      return address !== undefined && Address.contains(host.block, address)
    case "Name":
      return host.name === normal(bind)
    case "Suffix":
      return false
  }
}

/** A path with `..` could lead out of a folder. */
const allowsPath = (rule: Rule, path: string): boolean => {
  if (posix.normalize(path) !== path) return false
  return rule._tag === "Path" ? rule.path === path : rule._tag === "Below" && path.startsWith(rule.folder)
}
