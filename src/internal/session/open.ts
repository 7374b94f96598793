import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { Settings } from "../../SessionConfig.js"
import { AcceptTimeout, type DuplicateStream, type OpenError } from "../../WsmuxError.js"
import { makeOpenTimeout } from "../time/openTimeout.js"
import { withSpan } from "./effectInternals.js"
import { MuxStreamHandle, type SessionInfo } from "./handle.js"
import { PendingOpen } from "./openLimiter.js"
import type { SessionProtocol } from "./protocol.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** Makes the handle of a stream. The scope leaves the stream when it closes. */
export const makeHandle = (
  info: SessionInfo,
  stream: StreamProtocol,
  scope: Scope.Scope
): Effect.Effect<MuxStream> => {
  const handle = new MuxStreamHandle(stream, info)
  return Effect.as(Scope.addFinalizerExit(scope, () => MuxStreamHandle.release(handle)), handle)
}

type Open = (
  options?: { readonly id?: number | undefined }
) => Effect.Effect<MuxStream, OpenError | DuplicateStream, Scope.Scope>

/** Makes `Session.open`, and forks the fiber that times opens out. */
export const makeOpen = (
  protocol: SessionProtocol,
  settings: Settings,
  info: SessionInfo
): Effect.Effect<Open> =>
  Effect.gen(function*() {
    const deadline = Duration.decode(settings.streamAcceptDeadline)
    const acceptTimeout = new AcceptTimeout({ afterMillis: Duration.toMillis(deadline) })
    const timeout = yield* makeOpenTimeout(
      deadline,
      (opening: PendingOpen) => protocol.expireOpen(opening, acceptTimeout)
    ).pipe(Scope.extend(info.scope))

    return (options) =>
      withSpan(
        "Session.open",
        Effect.uninterruptibleMask((restore) => {
          const opening = new PendingOpen(options?.id)
          protocol.open(opening)
          if (!opening.settled) timeout.watch(opening)
          return Effect.matchCauseEffect(restore(opening.await), {
            onFailure: (cause) => {
              timeout.leave(opening)
              protocol.cancelOpen(opening)
              return Effect.failCause(cause)
            },
            onSuccess: (stream) => {
              timeout.leave(opening)
              return Effect.flatMap(Effect.scope, (scope) => makeHandle(info, stream, scope))
            }
          })
        })
      )
  })
