import * as Option from "effect/Option"
import * as Net from "node:net"
import * as Address from "../../policy/address.js"
import { Code } from "../codes.js"
import * as Place from "../place.js"
import { complete, incomplete, malformed, type Parsed, type Refuse, type Request } from "./request.js"

// Parsers of SOCKS 5 (RFC 1928) and SOCKS 4 with 4a. No kept library parses bytes without owning the socket.

/** The first bytes of each version. */
export const version5 = 5
export const version4 = 4

const replies5: Readonly<Record<number, number>> = {
  [Code.Forbidden]: 2,
  [Code.NameNotFound]: 4,
  [Code.Unreachable]: 4,
  [Code.ConnectionRefused]: 5,
  [Code.TimedOut]: 4
}

const generalFailure = 1
const commandNotSupported = 7
const addressNotSupported = 8

const commandConnect = 1
const commandAssociate = 3

/** The address in a reply. Clients ignore the address of CONNECT. */
const anyAddress = [1, 0, 0, 0, 0, 0, 0]

const reply5 = (code: number): Uint8Array => Uint8Array.of(version5, code, 0, ...anyAddress)

/** The answers to UDP ASSOCIATE: where to send datagrams, or that there is no such place. */
export const associated = ({ host, port }: Place.Port): Uint8Array => {
  const bytes = Address.bytesOf(host)
  return Uint8Array.of(version5, 0, 0, bytes.length === 4 ? 1 : 4, ...bytes, port >> 8, port & 255)
}
export const notAssociated = reply5(generalFailure)

const reply4 = (code: number): Uint8Array => Uint8Array.of(0, code, 0, 0, 0, 0, 0, 0)

/** The greeting of version 5: the methods of authentication that the client knows. */
export interface Greeting {
  readonly answer: Uint8Array
  readonly rest: Buffer
}

/** Parses the greeting. A client must offer to go on without authentication: the listener is the user's own. */
export const parseGreeting = (bytes: Buffer): Parsed<Greeting> => {
  const count = bytes[1]
  if (count === undefined || bytes.length < 2 + count) return incomplete
  if (!bytes.subarray(2, 2 + count).includes(0)) return malformed(Uint8Array.of(version5, 0xff))
  return complete({ answer: Uint8Array.of(version5, 0), rest: bytes.subarray(2 + count) })
}

/** A client that wants to send datagrams. */
export interface Association {
  /** The port that the client sends from, or 0 where it does not know. */
  readonly from: number
}

/** Parses the request behind the greeting. A proxy may be unable to `associate`. */
export const parseRequest = (canAssociate: boolean) => (bytes: Buffer): Parsed<Request | Association> => {
  if (bytes.length < 5) return incomplete
  if (bytes[0] !== version5) return malformed(reply5(generalFailure))
  const address = parseAddress(bytes)
  if (address === "unknown") return malformed(reply5(addressNotSupported))
  if (address === "incomplete") return incomplete
  const { end, host, port } = address
  if (bytes[1] === commandAssociate && canAssociate) return complete({ from: port })
  if (bytes[1] !== commandConnect) return malformed(reply5(commandNotSupported))
  if (Option.isNone(host) || port === 0) return malformed(reply5(replies5[Code.NameNotFound]!))
  const refuse: Refuse = (code) => reply5(replies5[code] ?? generalFailure)
  return complete({
    target: Place.port(host.value, port),
    accept: reply5(0),
    rest: bytes.subarray(end),
    refuse
  })
}

/** The kind, address and port behind the first three bytes of a request or a datagram. */
const parseAddress = (bytes: Buffer) => {
  const end = { 1: 4 + 4, 3: 5 + (bytes[4] ?? 0), 4: 4 + 16 }[bytes[3]!]
  if (end === undefined) return "unknown"
  if (bytes.length < end + 2) return "incomplete"
  const host = bytes[3] === 3 ? hostOf(bytes.toString("latin1", 5, end)) : Option.some(textOf(bytes.subarray(4, end)))
  return { host, port: bytes.readUInt16BE(end), end: end + 2 }
}

/** A datagram between a client and the proxy. */
export interface Datagram {
  readonly target: Place.Port
  /** The bytes before the datagrams that come back: the target as the client has written it. */
  readonly header: Uint8Array
  readonly payload: Uint8Array
}

/** Parses a datagram of a client. Fragments are dropped, as RFC 1928 allows, and so is what is malformed. */
export const parseDatagram = (bytes: Buffer): Datagram | undefined => {
  if (bytes.length < 5 || bytes[2] !== 0) return undefined
  const address = parseAddress(bytes)
  if (typeof address === "string" || Option.isNone(address.host) || address.port === 0) return undefined
  const { end, host, port } = address
  return {
    target: Place.port(host.value, port),
    header: Uint8Array.from(bytes.subarray(0, end)), // outlives the datagram
    payload: bytes.subarray(end)
  }
}

/** Parses a request of version 4. In 4a the address 0.0.0.x announces a name behind the user id. */
export const parseRequest4 = (bytes: Buffer): Parsed<Request> => {
  if (bytes.length < 9) return incomplete
  const userEnd = bytes.indexOf(0, 8)
  if (userEnd === -1) return incomplete
  const hasName = bytes.readUInt32BE(4) >>> 8 === 0 && bytes[7] !== 0
  const end = hasName ? bytes.indexOf(0, userEnd + 1) : userEnd
  if (end === -1) return incomplete
  const host = hasName
    ? hostOf(bytes.toString("latin1", userEnd + 1, end))
    : Option.some(textOf(bytes.subarray(4, 8)))
  const port = bytes.readUInt16BE(2)
  if (bytes[1] !== commandConnect || Option.isNone(host) || port === 0) return malformed(reply4(0x5b))
  return complete({
    target: Place.port(host.value, port),
    accept: reply4(0x5a),
    rest: bytes.subarray(end + 1),
    refuse: () => reply4(0x5b)
  })
}

/** Some clients send an address as a name. */
const hostOf = (text: string): Option.Option<string> => Net.isIP(text) > 0 ? Option.some(text) : Place.parseHost(text)

const textOf = (bytes: Uint8Array): string => Address.format(bytes)
