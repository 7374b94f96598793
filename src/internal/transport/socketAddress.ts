import { type Address, opaque, tcp, unix } from "../../Address.js"

interface Ends {
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/**
 * Returns the addresses of both ends of a socket. A Unix domain socket has neither hosts nor ports. Bun shows the
 * peer's host and port alone.
 */
export const socketAddresses = (ends: Ends): { readonly localAddress: Address; readonly remoteAddress: Address } => {
  const rest = ends.localPort === undefined && ends.remotePort === undefined ? unix("") : opaque("unknown")
  const addressOf = (host: string | undefined, port: number | undefined) =>
    host === undefined || port === undefined ? rest : tcp(host, port)
  return {
    localAddress: addressOf(ends.localAddress, ends.localPort),
    remoteAddress: addressOf(ends.remoteAddress, ends.remotePort)
  }
}
