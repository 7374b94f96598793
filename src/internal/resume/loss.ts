import type { CloseInfo } from "../../Transport.js"
import { abandonedCode } from "../transport/closeCode.js"

/** The end of a transport that was lost. */
export const lost = (cause: unknown): CloseInfo => ({ code: 1006, reason: "", cause })

/** Whether a connection that ended so was lost on the way, and not closed by the peer. */
export const isLoss = ({ cause, code }: CloseInfo, isAccepting: boolean, peerDrains: boolean): boolean => {
  if (cause instanceof RangeError) return false // this end refused a message that is too large
  if (peerDrains && code === 1001) return false // the end of the drain
  // A page that is left closes with 1001, so an accepting end would wait in vain.
  return isAccepting ? code === 1006 || code === abandonedCode : lossCodes.includes(code)
}

/** The codes with which the platform, a proxy or a peer ends a connection whose session goes on. */
const lossCodes: ReadonlyArray<number> = [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, abandonedCode]
