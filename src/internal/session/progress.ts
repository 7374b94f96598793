import { MuxStreamHandle } from "./handle.js"

/** How far a stream has come. */
export interface Progress {
  /** Whether the peer's FIN has come, also behind unread bytes, while this end may still write. */
  readonly peerEnded: boolean
  /** Bytes of writes that wait for credit or for their turn. */
  readonly waitingBytes: number
}

/** The progress of a stream, for adapters that bound a wait. Undefined for a stream that this package did not make. */
export const unsafeProgress = (stream: object): Progress | undefined => {
  if (!(stream instanceof MuxStreamHandle)) return undefined
  const { sendHalf: outgoing, state } = MuxStreamHandle.stateOf(stream)
  return { peerEnded: state === "HalfClosedRemote", waitingBytes: outgoing.waiting }
}
