import * as Address from "../policy/address.js"

/** The end of a connection, if it has an address. */
export interface End {
  readonly host: string
  readonly port: number
}

/**
 * Returns the header of the PROXY protocol, version 2, which tells a target the address of its client:
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2. Without addresses the header says LOCAL.
 */
export const header = (client: End | undefined, server: End | undefined): Uint8Array => {
  const [from, to] = [bytesOf(client), bytesOf(server)]
  if (client === undefined || from === undefined) return Buffer.concat([signature, Buffer.from([0x20, 0, 0, 0])])
  const destination = to ?? Buffer.alloc(from.byteLength)
  const isV4 = from.byteLength === 4 && destination.byteLength === 4
  const widen = (bytes: Buffer) => isV4 || bytes.byteLength === 16 ? bytes : Buffer.concat([mapped, bytes])
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(client.port, 0)
  ports.writeUInt16BE(server?.port ?? 0, 2)
  const addresses = Buffer.concat([widen(from), widen(destination), ports])
  return Buffer.concat([signature, Buffer.from([0x21, isV4 ? 0x11 : 0x21, 0, addresses.byteLength]), addresses])
}

const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1")

/** The beginning of the IPv6 form of an IPv4 address. */
const mapped = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])

const bytesOf = (end: End | undefined): Buffer | undefined => {
  const address = end === undefined ? undefined : Address.parse(end.host)
  return address && Buffer.from(address.toByteArray())
}
