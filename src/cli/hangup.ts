import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Systemd from "./systemd.js"

/** The effects that a command runs at SIGHUP. */
export class Hangup {
  readonly #handlers = new Set<{ readonly runtime: Runtime.Runtime<never>; readonly effect: Effect.Effect<void> }>()

  /** Runs an effect at each SIGHUP until the scope closes, beside those of other callers. */
  handle(effect: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.acquireRelease(
      Effect.map(Effect.runtime<never>(), (runtime) => {
        const handler = { runtime, effect }
        this.#handlers.add(handler)
        return handler
      }),
      (handler) => Effect.sync(() => this.#handlers.delete(handler))
    ))
  }

  /** Handles a SIGHUP. Returns false where no effect is set: then a closed terminal ends the command. */
  wasHandled(): boolean {
    const handlers = [...this.#handlers]
    const [first] = handlers
    if (first === undefined) return false
    const all = Effect.suspend(() => {
      const running = handlers.map(({ effect, runtime }) => Runtime.runFork(runtime)(effect))
      return Fiber.awaitAll(running)
    })
    Runtime.runFork(first.runtime)(Systemd.reloading(all))
    return true
  }
}

/** The signals of this process. */
export const ofProcess = new Hangup()

/** Where a command learns of SIGHUP. */
export class Current extends Context.Reference<Current>()("effect-wsmux/cli/Hangup", {
  defaultValue: () => ofProcess
}) {}

/** Runs an effect at each SIGHUP until the scope closes. */
export const handle = (effect: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Current, (hangup) => hangup.handle(effect))
