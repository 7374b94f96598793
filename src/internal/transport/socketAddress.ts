import { type Address, tcp, unix } from "../../Address.js"

/** Returns the address of one end of a socket. A Unix domain socket has neither host nor port. */
export const socketAddress = (host: string | undefined, port: number | undefined): Address =>
  host === undefined || port === undefined ? unix("") : tcp(host, port)
