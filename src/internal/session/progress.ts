import type { Progress } from "../../MuxStream.js"
import { MuxStreamHandle } from "./handle.js"

export const unsafeProgress = (stream: object): Progress | undefined => {
  if (!(stream instanceof MuxStreamHandle)) return undefined
  const { outgoing, state } = MuxStreamHandle.stateOf(stream)
  return { peerEnded: state === "HalfClosedRemote", waitingBytes: outgoing.waiting }
}
