import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import { constVoid } from "effect/Function"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { TerminalError } from "../../WsmuxError.js"
import { acceptEach, awaitAccepted } from "./accept.js"
import { annotateStream, enterScope, isTraced } from "./effectInternals.js"
import { MuxStreamHandle, type SessionInfo } from "./handle.js"
import { makeHandle } from "./open.js"
import type { SessionProtocol } from "./protocol.js"
import type { StreamProtocol } from "./streamProtocol.js"
import { parentOf } from "./traceContext.js"

/** Makes `Session.accept`. */
export const makeAccept = (
  protocol: SessionProtocol,
  info: SessionInfo
): Effect.Effect<MuxStream, TerminalError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(awaitAccepted(protocol, restore), (stream) => makeHandle(info, stream))
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
        const serve = (stream: StreamProtocol): void => {
          stream.isServed = true
          const handle = new MuxStreamHandle(stream, info)
          const work = Effect.scopedWith((scope) =>
            Effect.zipRight(
              enterScope(scope, parentOf(stream.metadata)),
              restore(Effect.suspend(() => handler(handle)))
            )
          )
          const leave = (exit: Exit.Exit<unknown, E>) => {
            const rest = MuxStreamHandle.release(handle, exit)
            protocol.peers.served(stream)
            return rest
          }
          fork(
            Effect.matchCauseEffect(work as Effect.Effect<unknown, E, Requirements>, {
              onFailure: (cause) => Effect.zipRight(leave(Exit.failCause(cause)), logFailure(cause)),
              onSuccess: () => leave(Exit.void)
            }),
            { updateRefs: annotateStream(stream.id) }
          )
        }
        const serveAll = Effect.withFiberRuntime<never, TerminalError>((fiber) => {
          // The span of each wait needs a fiber, which wakes for each stream. Without spans a callback does.
          if (isTraced(fiber)) return Effect.forever(Effect.map(awaitAccepted(protocol, restore), serve))
          const { currentScheduler } = fiber
          const stop = acceptEach(protocol, serve, constVoid, (task) => currentScheduler.scheduleTask(task, 0, fiber))
          const ended = Effect.flatMap(Deferred.await(protocol.terminated), Effect.fail)
          return Effect.ensuring(restore(ended), Effect.sync(stop))
        })
        // After the end of the session, handlers may still read what had arrived, so they end by themselves.
        return yield* Effect.onError(
          serveAll,
          (cause) => Cause.isInterrupted(cause) ? Effect.void : Effect.interruptible(FiberSet.awaitEmpty(handlers))
        )
      })
    )
  )

const logFailure = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Cause.isInterruptedOnly(cause)
    ? Effect.void
    : Effect.logDebug("cannot go on with a stream: its handler failed", cause)
