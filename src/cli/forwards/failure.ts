import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { isTerminalError, type TerminalError } from "../../WsmuxError.js"
import * as Codes from "./codes.js"
import * as Spec from "./spec.js"

/** A forward that the server refuses, or that its software does not know. */
export class ForwardFailure extends Data.TaggedError("ForwardFailure")<{
  /** The forward as its option is written. */
  readonly forward: string
  readonly reason: string
  readonly code?: number | undefined
}> {
  override get message(): string {
    return `cannot forward ${this.forward}: ${this.reason}`
  }
}

/** Returns the option with its value, for a message. */
export const written = (forward: Spec.Forward): string => `${Spec.optionOf(forward)} ${Spec.format(forward)}`

export const lacksDialect = "the server does not know labels; Go servers and an older wsmux serve take --listen only"

/** Fails with the end of the session, or with a `ForwardFailure` that tells why the forward cannot be. */
export const orForwardFailure = (forward: string) =>
<A, E extends { readonly message: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, ForwardFailure | TerminalError, R> =>
  Effect.catchAllCause(effect, (cause) =>
    Option.match(Cause.failureOption(cause), {
      onNone: () => Effect.failCause(cause as Cause.Cause<never>),
      onSome: (failure) => Effect.fail(toFailure(forward, failure, Codes.refusalOf(cause)))
    }))

const toFailure = (
  forward: string,
  failure: { readonly message: string },
  refusal: Option.Option<Codes.Refusal>
): ForwardFailure | TerminalError => {
  if (failure instanceof ForwardFailure || isTerminalError(failure)) return failure
  if (Predicate.isTagged(failure, "BrokenPipe") && "cause" in failure && isTerminalError(failure.cause)) {
    return failure.cause
  }
  if (Predicate.isTagged(failure, "LabelsUnsupported")) return new ForwardFailure({ forward, reason: lacksDialect })
  return Option.match(refusal, {
    onNone: () => new ForwardFailure({ forward, reason: failure.message }),
    onSome: ({ code, reason }) => new ForwardFailure({ forward, reason, code })
  })
}
