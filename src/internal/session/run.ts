import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { TerminalError } from "../../WsmuxError.js"
import { awaitAccepted } from "./accept.js"
import { handlerRefs } from "./effectInternals.js"
import type { SessionInfo } from "./handle.js"
import { makeHandle } from "./open.js"
import type { SessionProtocol } from "./protocol.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** Makes `Session.accept`. */
export const makeAccept = (
  protocol: SessionProtocol,
  info: SessionInfo
): Effect.Effect<MuxStream, TerminalError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      awaitAccepted(protocol, restore),
      (stream) => Effect.flatMap(Effect.scope, (scope) => makeHandle(info, stream, scope))
    )
  )

/** Makes `Session.run`: a fiber and a scope for each stream of the peer. */
export const makeRun = (protocol: SessionProtocol, info: SessionInfo) =>
<E, R>(
  handler: (stream: MuxStream) => Effect.Effect<unknown, E, R>
): Effect.Effect<never, TerminalError, Exclude<R, Scope.Scope>> =>
  Effect.scopedWith((scope) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        type Requirements = Exclude<R, Scope.Scope>
        const handlers = yield* Scope.extend(FiberSet.make<void>(), scope)
        const fork = yield* FiberSet.runtime(handlers)<Requirements>()
        // The fiber starts uninterruptible, so an interruption cannot come before the stream is left.
        const serve = (stream: StreamProtocol) =>
          Effect.flatMap(Scope.make(), (streamScope) =>
            Effect.map(makeHandle(info, stream, streamScope), (handle) => {
              stream.isServed = true
              const work = restore(Effect.suspend(() => handler(handle))).pipe(
                Effect.onExit((exit) => Scope.close(streamScope, exit)),
                Effect.catchAllCause((cause) =>
                  Cause.isInterruptedOnly(cause)
                    ? Effect.void
                    : Effect.logDebug("cannot go on with a stream: its handler failed", cause)
                ),
                Effect.ensuring(Effect.sync(() => protocol.served(stream)))
              )
              fork(work as Effect.Effect<void, never, Requirements>, {
                updateRefs: handlerRefs(stream.id, streamScope)
              })
            }))
        // After the end of the session, handlers may still read what had arrived, so they end by themselves.
        return yield* Effect.forever(Effect.flatMap(awaitAccepted(protocol, restore), serve)).pipe(
          Effect.onError((cause) =>
            Cause.isInterrupted(cause) ? Effect.void : Effect.interruptible(FiberSet.awaitEmpty(handlers))
          )
        )
      })
    )
  )
