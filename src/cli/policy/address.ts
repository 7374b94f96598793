import ipaddr from "ipaddr.js"
import * as Net from "node:net"

/** An address as rules judge it: an IPv6 address that stands for an IPv4 address is that IPv4 address. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6

/** Parses an address of four decimal numbers or of IPv6, with or without a zone. Other forms are names. */
export const parse = (text: string): Address | undefined =>
  Net.isIP(text) === 0 ? undefined : judged(ipaddr.parse(text))

/** Returns the text of an address of 4 or 16 bytes. */
export const format = (bytes: Uint8Array): string => ipaddr.fromByteArray([...bytes]).toString()

/** The bytes of an address, without its zone. */
export const bytesOf = (text: string): ReadonlyArray<number> => ipaddr.parse(text.replace(/%.*$/, "")).toByteArray()

/** A block of addresses, such as `10.0.0.0/8`. */
export interface Block {
  readonly address: Address
  readonly bits: number
}

/** Parses a block, or an address as a block of one. */
export const parseBlock = (text: string): Block | undefined => {
  const [, address = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  if (Net.isIP(address) === 0 || address.includes("%")) return undefined
  const parsed = ipaddr.parse(address)
  const all = parsed.kind() === "ipv4" ? 32 : 128
  if (bits !== undefined && Number(bits) > all) return undefined
  const own = judged(parsed)
  if (bits === undefined) return { address: own, bits: own.kind() === "ipv4" ? 32 : 128 }
  // A block keeps its family: `[::]/0` is IPv6, and names no IPv4 address.
  return { address: parsed, bits: Number(bits) }
}

export const formatBlock = ({ address, bits }: Block): string => {
  const text = address.kind() === "ipv4" ? address.toString() : `[${address.toString()}]`
  const isOne = bits === (address.kind() === "ipv4" ? 32 : 128)
  // without its bits, a form such as `::1:0` would be read as an IPv4 address
  return isOne && judged(address).kind() === address.kind() ? text : text.replace(/\]?$/, (end) => `/${bits}${end}`)
}

export const contains = ({ address: block, bits }: Block, address: Address): boolean =>
  block.kind() === address.kind() && address.match(block, bits)

export const isLoopback = (address: Address): boolean => address.range() === "loopback"

/** Whether the address belongs to the public internet. */
export const isPublic = (address: Address): boolean => address.range() === "unicast"

/** Whether the address belongs to a host of a public or private network. */
export const isOfNetwork = (address: Address): boolean => networks.has(address.range())

/** Left out: loopback, link-local (where clouds serve credentials), unspecified, multicast, broadcast, reserved. */
const networks = new Set<string>(["unicast", "private", "uniqueLocal", "carrierGradeNat", "benchmarking"])

/** Translators and tunnels bring an IPv6 address of these forms to the IPv4 address inside. */
const judged = (address: Address): Address => {
  if (address.kind() === "ipv4") return address
  const bytes = address.toByteArray()
  const starts = (...prefix: ReadonlyArray<number>) => prefix.every((byte, i) => bytes[i] === byte)
  const at = (index: number, mask = 0) => new ipaddr.IPv4(bytes.slice(index, index + 4).map((byte) => byte ^ mask))
  const zeros = (count: number) => Array.from({ length: count }, () => 0)
  const isMapped = starts(...zeros(10), 0xff, 0xff) || starts(...zeros(8), 0xff, 0xff, 0, 0)
  const isCompatible = starts(...zeros(12)) && !starts(...zeros(15)) // `::` and `::1` are addresses of IPv6
  const isTranslated = starts(0, 0x64, 0xff, 0x9b, ...zeros(8))
  const isIsatap = (bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
  if (isMapped || isCompatible || isTranslated || isIsatap) return at(12)
  if (starts(0x20, 0x02)) return at(2) // 6to4
  if (starts(0x20, 0x01, 0, 0)) return at(12, 0xff) // Teredo
  return address
}
