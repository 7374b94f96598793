import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { plainText } from "../../internal/text/plainText.js"
import { ResetCode, type ResetOptions } from "../../MuxStream.js"
import { forbidden } from "../policy/lookup.js"

/** The reset codes of the two commands, by which one end tells the other why a stream was not served. */
export const Code = {
  Forbidden: 256,
  NameNotFound: 257,
  Unreachable: 258,
  ConnectionRefused: 259,
  TimedOut: 260,
  CannotListen: 261,
  Malformed: 262,
  TooMany: 263,
  UnknownListener: 264
} as const

export type Code = (typeof Code)[keyof typeof Code]

/** One line for each code. The log of the end that resets has the details, such as addresses. */
const reasons: Readonly<Record<Code, string>> = {
  [Code.Forbidden]: "the server does not allow it",
  [Code.NameNotFound]: "the other end finds no address of that name",
  [Code.Unreachable]: "the other end cannot reach it",
  [Code.ConnectionRefused]: "the target refused the connection",
  [Code.TimedOut]: "the target did not answer in time",
  [Code.CannotListen]: "the server cannot listen there",
  [Code.Malformed]: "the other end does not understand the request",
  [Code.TooMany]: "the server has too many of them",
  [Code.UnknownListener]: "the client has not asked for that listener"
}

/** Returns the reset with this code, and with a text of its own or that of the code. */
export const resetOf = (code: Code, reason: string = reasons[code]): ResetOptions => ({ code, reason })

/** Returns the code for the failure of a connection. */
export const codeOf = (error: unknown): Code => {
  switch (Predicate.hasProperty(error, "code") ? error.code : undefined) {
    case forbidden:
      return Code.Forbidden
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "ENODATA":
      return Code.NameNotFound
    case "ECONNREFUSED":
      return Code.ConnectionRefused
    case "ETIMEDOUT":
      return Code.TimedOut
    default:
      return Code.Unreachable
  }
}

/** A reset or a refusal by the other end. */
export interface Refusal {
  readonly code: number
  /** Text of the other end, made safe to print. */
  readonly reason: string
}

/** Returns how the other end has refused or reset a stream, where a failure tells of that. */
export const refusalOf = (cause: Cause.Cause<unknown>): Option.Option<Refusal> =>
  Option.flatMap(Cause.failureOption(cause), (failure) => {
    if (!Predicate.hasProperty(failure, "_tag") || !Predicate.hasProperty(failure, "code")) return Option.none()
    const { code, reason } = failure as { readonly code: number | undefined; readonly reason?: string }
    const isOfPeer = failure._tag === "StreamRefused" || (failure._tag === "StreamReset" && isByPeer(failure))
    if (!isOfPeer || code === undefined) return Option.none()
    return Option.some({ code, reason: plainText(reason ?? "") || fallback(code) })
  })

const isByPeer = (failure: object): boolean => Predicate.hasProperty(failure, "by") && failure.by === "peer"

const fallback = (code: number): string =>
  (reasons as Readonly<Record<number, string>>)[code] ??
    (code === ResetCode.NoHandler ? "the server takes no forwards" : `the other end reset it (code ${code})`)

/** Whether the reset is by the two commands, so that its reason is for the user. */
export const isOfCommand = ({ code }: Refusal): boolean => code >= 256

/** Whether the end of a stream that was open has a reason for the user: a relay names the limit by `Refused`. */
export const tellsWhy = (refusal: Refusal): boolean => isOfCommand(refusal) || refusal.code === ResetCode.Refused
