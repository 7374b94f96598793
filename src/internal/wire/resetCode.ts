/**
 * The reset codes of this package. Programs use codes from 256 on.
 *
 * - `NoError`: the end of a stream that was left before its last byte, without a failure
 * - `Cancelled`: the owner was interrupted
 * - `Failed`: the owner failed
 * - `Refused`: a limit of the peer was reached; the message says which
 * - `NoHandler`: no handler takes the label
 * - `Expired`: no acceptor took the stream in time
 * - `Draining`: the session takes no new streams; another session may
 */
export const ResetCode = {
  NoError: 0,
  Cancelled: 1,
  Failed: 2,
  Refused: 3,
  NoHandler: 4,
  Expired: 5,
  Draining: 6
} as const

/** Why a half of a stream ended abnormally. */
export interface ResetInfo {
  readonly by: "local" | "peer"
  readonly code: number
  readonly reason: string
}
