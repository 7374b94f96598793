import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { Settings } from "../../SessionConfig.js"
import type { OpenOptions } from "../../SessionOptions.js"
import { AcceptTimeout, type OpenError } from "../../WsmuxError.js"
import { type Cancel, type Done, later } from "../sync/later.js"
import { makeOpenTimeout } from "../time/openTimeout.js"
import { withSpan } from "./effectInternals.js"
import { MuxStreamHandle, type SessionInfo } from "./handle.js"
import { type AnyOpenError, PendingOpen } from "./openLimiter.js"
import type { SessionProtocol } from "./protocol.js"
import type { OwnedStream } from "./sessionCallbacks.js"
import type { StreamProtocol } from "./streamProtocol.js"
import { traceParent } from "./traceContext.js"
import type { WithStream } from "./withStream.js"

/** Makes the handle of a stream. The caller's scope leaves the stream when it closes. */
export const makeHandle = (info: SessionInfo, stream: StreamProtocol): Effect.Effect<MuxStream, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => {
    const handle = new MuxStreamHandle(stream, info)
    return Effect.as(Scope.addFinalizerExit(scope, (exit) => MuxStreamHandle.release(handle, exit)), handle)
  })

/** Returns the handle of a stream, which its owner leaves without a scope. */
export const own = (info: SessionInfo, stream: StreamProtocol, onLeave?: () => void): OwnedStream => {
  const handle = new MuxStreamHandle(stream, info)
  return {
    stream: handle,
    leave: (exit = Exit.void) => {
      const rest = MuxStreamHandle.release(handle, exit)
      if (rest !== Effect.void) Effect.runFork(rest) // rarely: a deadline is set
      onLeave?.()
    }
  }
}

type Open = (options?: OpenOptions) => Effect.Effect<MuxStream, AnyOpenError, Scope.Scope>

/** The opens of a session. */
export interface Opens {
  /** `Session.open` */
  readonly open: Open
  /** `Session.withStream` */
  readonly withStream: WithStream<AnyOpenError>
  /** `Session.open` with a callback. A cancelled open never calls back. */
  readonly unsafeOpen: (request: OpenOptions | undefined, done: Done<StreamProtocol, OpenError>) => Cancel
}

/** Makes the opens of a session, and forks the fiber that times them out. */
export const makeOpens = (
  protocol: SessionProtocol,
  settings: Settings,
  info: SessionInfo
): Effect.Effect<Opens> =>
  Effect.gen(function*() {
    const deadline = Duration.decode(settings.streamAcceptDeadline)
    const acceptTimeout = new AcceptTimeout({ afterMillis: Duration.toMillis(deadline) })
    const timeout = yield* makeOpenTimeout(
      deadline,
      (opening: PendingOpen) => protocol.own.expire(opening, acceptTimeout)
    ).pipe(Scope.extend(info.scope))

    const begin = (request: OpenOptions, traceParent?: string): PendingOpen => {
      let watched = 0
      const opening = new PendingOpen(request, traceParent, () => timeout.leave(watched))
      protocol.own.open(opening)
      if (!opening.isOver) watched = timeout.watch(opening)
      return opening
    }
    /** Waits for the peer's answer. `restore` makes the wait interruptible, and nothing else. */
    const awaitOpened = (request: OpenOptions, restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>) =>
      withSpan(
        "Session.open",
        (span) => {
          const opening = begin(request, span && traceParent(span))
          return Effect.matchCauseEffect(restore(opening.await), {
            onFailure: (cause) => {
              protocol.own.cancel(opening)
              return Effect.failCause(cause)
            },
            onSuccess: Effect.succeed
          })
        }
      )
    const open: Open = (options = {}) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(awaitOpened(options, restore), (stream) => makeHandle(info, stream))
      )
    const withStream: WithStream<AnyOpenError> = (use, options = {}) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(awaitOpened(options, restore), (stream) => {
          const handle = new MuxStreamHandle(stream, info)
          return Effect.matchCauseEffect(restore(Effect.suspend(() => use(handle))), {
            onFailure: (cause) => {
              const exit = Exit.failCause(cause)
              return Effect.zipRight(MuxStreamHandle.release(handle, exit), exit)
            },
            onSuccess: (value) => Effect.as(MuxStreamHandle.release(handle, Exit.void), value)
          })
        })
      )
    const unsafeOpen: Opens["unsafeOpen"] = (request, done) => {
      const opening = begin(request ?? {})
      return later((wake) => {
        // A chosen id or a label brings about other failures, which the callers of `open` know.
        opening.onSettled((answer) => wake(Exit.fromEither(answer as Either.Either<StreamProtocol, OpenError>)))
        return () => protocol.own.cancel(opening)
      }, done)
    }
    return { open, withStream, unsafeOpen }
  })
