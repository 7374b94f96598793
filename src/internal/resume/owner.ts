import type { CloseInfo } from "../../Transport.js"
import type { ResumeFailure } from "../../WsmuxError.js"
import type { ResumeOffer } from "../wire/record.js"
import type * as Record from "../wire/resumeRecord.js"
import type { Carrier } from "./carrier.js"

/** The end that owns a resumable transport, as the transport uses that end. */
export interface ResumeOwner {
  readonly isAccepting: boolean
  /** Makes the offer of an accepting end. Undefined at the dialling end. */
  readonly offer: () => ResumeOffer | undefined
  /** The bytes of unacknowledged messages at which the transport takes no more. */
  readonly maxKept: number
  /** Books kept bytes at the limit of the server. A negative number gives bytes back. */
  readonly book: (bytes: number) => void
  /** Calls back after a second. */
  readonly afterSecond: (task: () => void) => void
  /** The time in milliseconds. */
  readonly now: () => number
  /** The peer can resume; `offer` is that of an accepting peer. */
  readonly onNative: (offer: ResumeOffer | undefined) => void
  /** The first message asks to resume another session. The owner takes the carrier away. */
  readonly onResume: (record: Record.Resume, carrier: Carrier) => void
  /** The carrier is lost. The owner attaches another or ends the transport. A peer that was not heard may be plain. */
  readonly onSuspended: (loss: CloseInfo, isPeerHeard: boolean) => void
  /** The carrier has proven that its peer has the newest token. */
  readonly onProven: () => void
  /** The transport has ended. */
  readonly onEnd: () => void
  /** Makes the failure of a transport whose peer lies about its counts. */
  readonly countFailure: (detail: string) => ResumeFailure
}
