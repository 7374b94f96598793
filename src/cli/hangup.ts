import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"

let handler: (() => void) | undefined

/** Runs an effect at each SIGHUP until the scope closes. */
export const handle = (effect: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Effect.runtime<never>(), (runtime) => {
      handler = () => void Runtime.runFork(runtime)(effect)
    }),
    () =>
      Effect.sync(() => {
        handler = undefined
      })
  )

/** Handles a SIGHUP. Returns false where no effect is set: then a closed terminal ends the command. */
export const wasHandled = (): boolean => {
  handler?.()
  return handler !== undefined
}
