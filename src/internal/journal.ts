import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

type Line = { readonly level: "Debug" | "Warning"; readonly message: string; readonly annotations: object }

/** A session's log, written from plain callbacks. */
export interface Journal {
  readonly debug: (message: string, annotations?: object) => void
  readonly warning: (message: string, annotations?: object) => void
}

const silent: Journal = { debug: () => {}, warning: () => {} }

/** How many lines may wait to be written: a peer that misbehaves in a loop must not fill the memory with complaints. */
const capacity = 256

/** A journal that a fiber of the scope writes to Effect's loggers. */
export const makeJournal = (
  enabled: boolean,
  annotations: Record<string, unknown>
): Effect.Effect<Journal, never, Scope.Scope> =>
  enabled
    ? Effect.gen(function*() {
      const lines = yield* Queue.sliding<Line>(capacity)
      const write = (line: Line) =>
        (line.level === "Debug" ? Effect.logDebug(line.message) : Effect.logWarning(line.message)).pipe(
          Effect.annotateLogs({ ...annotations, ...line.annotations })
        )
      // What the end of the session logged is written before the scope is left.
      yield* Effect.addFinalizer(() => Effect.flatMap(Queue.takeAll(lines), Effect.forEach(write, { discard: true })))
      yield* Queue.take(lines).pipe(Effect.flatMap(write), Effect.forever, Effect.interruptible, Effect.forkScoped)
      const log = (level: Line["level"]) => (message: string, annotations: object = {}) => {
        lines.unsafeOffer({ level, message, annotations })
      }
      return { debug: log("Debug"), warning: log("Warning") }
    })
    : Effect.succeed(silent)
