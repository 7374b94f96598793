import * as Dns from "node:dns"
import type * as Net from "node:net"

type Found = ReadonlyArray<Dns.LookupAddress>

/** Resolves a name to all of its addresses, as `dns.lookup` does. */
export type Resolve = (
  name: string,
  options: Dns.LookupAllOptions,
  done: (error: NodeJS.ErrnoException | null, found: Found) => void
) => void

/** The code of the error that tells of a name without an allowed address. */
export const forbidden = "EFORBIDDEN"

/**
 * Returns the `lookup` of a connection that passes on allowed addresses only. A connection uses the very addresses that
 * were judged, so a name that changes in between (DNS rebinding) gains nothing.
 */
export const make =
  (allows: (address: string) => boolean, resolve: Resolve = Dns.lookup): Net.LookupFunction =>
  (name, options, callback) =>
    resolve(name, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, "")
      const allowed = found.filter(({ address }) => allows(address))
      const [first] = allowed
      if (first === undefined) {
        const addresses = found.map(({ address }) => address).join(", ")
        return callback(
          Object.assign(new Error(`${name} is at ${addresses}, which is not allowed`), { code: forbidden }),
          ""
        )
      }
      if (options.all) callback(null, allowed)
      else callback(null, first.address, first.family)
    })
