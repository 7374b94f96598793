import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { Settings } from "../../SessionConfig.js"
import { AcceptTimeout, type DuplicateStream, type OpenError } from "../../WsmuxError.js"
import { type Cancel, type Done, later } from "../sync/later.js"
import { makeOpenTimeout } from "../time/openTimeout.js"
import { withSpan } from "./effectInternals.js"
import { MuxStreamHandle, type SessionInfo } from "./handle.js"
import { PendingOpen } from "./openLimiter.js"
import type { SessionProtocol } from "./protocol.js"
import type { OwnedStream } from "./sessionCallbacks.js"
import type { StreamProtocol } from "./streamProtocol.js"
import type { WithStream } from "./withStream.js"

/** Makes the handle of a stream. The caller's scope leaves the stream when it closes. */
export const makeHandle = (info: SessionInfo, stream: StreamProtocol): Effect.Effect<MuxStream, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => {
    const handle = new MuxStreamHandle(stream, info)
    return Effect.as(Scope.addFinalizerExit(scope, () => MuxStreamHandle.release(handle)), handle)
  })

/** Returns the handle of a stream, which its owner leaves without a scope. */
export const own = (info: SessionInfo, stream: StreamProtocol, onLeave?: () => void): OwnedStream => {
  const handle = new MuxStreamHandle(stream, info)
  return {
    stream: handle,
    leave: () => {
      const rest = MuxStreamHandle.release(handle)
      if (rest !== Effect.void) Effect.runFork(rest) // rarely: a deadline is set
      onLeave?.()
    }
  }
}

type Open = (
  options?: { readonly id?: number | undefined }
) => Effect.Effect<MuxStream, OpenError | DuplicateStream, Scope.Scope>

/** The opens of a session. */
export interface Opens {
  /** `Session.open` */
  readonly open: Open
  /** `Session.withStream` */
  readonly withStream: WithStream<OpenError>
  /** `Session.open` with a callback. A cancelled open never calls back. */
  readonly unsafeOpen: (done: Done<StreamProtocol, OpenError>) => Cancel
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
      (opening: PendingOpen) => protocol.expireOpen(opening, acceptTimeout)
    ).pipe(Scope.extend(info.scope))

    const begin = (id: number | undefined): PendingOpen => {
      const opening = new PendingOpen(id)
      protocol.open(opening)
      if (!opening.settled) timeout.watch(opening)
      return opening
    }
    const cancel = (opening: PendingOpen): void => {
      timeout.leave(opening)
      protocol.cancelOpen(opening)
    }
    /** Waits for the peer's answer. `restore` makes the wait interruptible, and nothing else. */
    const awaitOpened = (id: number | undefined, restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>) =>
      withSpan(
        "Session.open",
        Effect.suspend(() => {
          const opening = begin(id)
          return Effect.matchCauseEffect(restore(opening.await), {
            onFailure: (cause) => {
              cancel(opening)
              return Effect.failCause(cause)
            },
            onSuccess: (stream) => {
              timeout.leave(opening)
              return Effect.succeed(stream)
            }
          })
        })
      )
    const open: Open = (options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(awaitOpened(options?.id, restore), (stream) => makeHandle(info, stream))
      )
    const withStream: WithStream<OpenError | DuplicateStream> = (use) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(awaitOpened(undefined, restore), (stream) => {
          const handle = new MuxStreamHandle(stream, info)
          return Effect.matchCauseEffect(restore(Effect.suspend(() => use(handle))), {
            onFailure: (cause) => Effect.zipRight(MuxStreamHandle.release(handle), Effect.failCause(cause)),
            onSuccess: (value) => Effect.as(MuxStreamHandle.release(handle), value)
          })
        })
      )
    const unsafeOpen: Opens["unsafeOpen"] = (done) => {
      const opening = begin(undefined)
      return later((wake) => {
        opening.onSettled((answer) => {
          timeout.leave(opening)
          wake(Exit.fromEither(answer as Either.Either<StreamProtocol, OpenError>)) // `DuplicateStream` needs an id
        })
        return () => cancel(opening)
      }, done)
    }
    return { open, withStream: withStream as WithStream<OpenError>, unsafeOpen } // `DuplicateStream` needs an id
  })
