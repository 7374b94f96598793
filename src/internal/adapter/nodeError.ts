import * as Predicate from "effect/Predicate"
import type { LabelsUnsupported, NotConnected, OpenError, ReadError, Stalled, WriteError } from "../../WsmuxError.js"

type Failure = ReadError | WriteError | OpenError | LabelsUnsupported | NotConnected | Stalled

/** Makes an error with the `code` that Node programs expect of a socket's errors. The failure is its cause. */
export const toNodeError = (cause: unknown): Error => {
  const code = Predicate.hasProperty(cause, "_tag") ? codeOf(cause as Failure) : "ECONNRESET"
  return Object.assign(new Error(cause instanceof Error ? cause.message : String(cause), { cause }), { code })
}

const codeOf = (error: Failure): string => {
  switch (error._tag) {
    case "AcceptTimeout":
    case "ReadTimeout":
    case "Stalled":
    case "WriteTimeout":
      return "ETIMEDOUT"
    case "LabelsUnsupported":
    case "NotConnected":
    case "SessionDraining":
    case "StreamRefused":
      return "ECONNREFUSED"
    case "BrokenPipe":
      return error.operation === "write" ? "EPIPE" : "ECONNRESET"
    default:
      return "ECONNRESET"
  }
}
