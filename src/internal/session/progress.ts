import { MuxStreamHandle } from "./handle.js"

/** The progress of a stream. */
export interface Progress {
  /** Whether the peer's FIN has arrived, even behind unread bytes, while this end may still write. */
  readonly peerEnded: boolean
  /** The written bytes that wait for credit or for the scheduler. */
  readonly waitingBytes: number
}

/** Returns the stream's progress, for adapters that limit a wait. Undefined for a stream that another package made. */
export const unsafeProgress = (stream: object): Progress | undefined => {
  if (!(stream instanceof MuxStreamHandle)) return undefined
  const { sendHalf, state } = MuxStreamHandle.stateOf(stream)
  return { peerEnded: state === "HalfClosedRemote", waitingBytes: sendHalf.waiting }
}
