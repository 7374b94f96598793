import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { OpenOptions } from "../../SessionOptions.js"
import type { AnyOpenError } from "./openLimiter.js"

/** Opens a stream, runs the function with it, and leaves the stream. */
export type WithStream<OE> = <A, E, R>(
  use: (stream: MuxStream) => Effect.Effect<A, E, R>,
  options: OpenOptions | undefined
) => Effect.Effect<A, E | OE, R>

interface Opener<OE> {
  readonly open: (options?: OpenOptions) => Effect.Effect<MuxStream, OE, Scope.Scope>
}

// The keys are the operations themselves, so that a copy of a session has the same form.
const direct = new WeakMap<object, WithStream<unknown>>()

/** Gives an `open` a form without a scope, which takes half of the steps in Effect's interpreter. */
export const setWithStream = (opener: { readonly open: object }, withStream: WithStream<AnyOpenError>): void => {
  direct.set(opener.open, withStream)
}

/** Implements `Session.withStream`. */
export const withStream = <A, E, R, OE>(
  opener: Opener<OE>,
  use: (stream: MuxStream) => Effect.Effect<A, E, R>,
  options?: OpenOptions
): Effect.Effect<A, E | OE, R> =>
  (direct.get(opener.open) as WithStream<OE> | undefined)?.(use, options) ??
    Effect.scopedWith((scope) => Effect.flatMap(Scope.extend(opener.open(options), scope), use))
